"""The running stack: an upstream with all of Uniswap, a fork to trade on, and a trader with money."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from exchange_kernel_evm.testing import AnvilNode, Chain, TestChainError, calldata, forked_chain, read
from exchange_kernel_uniswap.testing.addresses import DECIMALS, FEE_TOKEN, TOKENS
from exchange_kernel_uniswap.testing.deploy import deploy, deploy_extras
from exchange_kernel_uniswap.testing.pools import seed, seed_extras

__all__ = ["UniswapStack", "uniswap_stack"]

# Not Anvil's well-known accounts: on mainnet others have put code at those.
_OWNER: Final[LocalAccount] = Account.from_key(keccak(text="exchange kernel: the test chain's owner"))
_TRADER: Final[LocalAccount] = Account.from_key(keccak(text="exchange kernel: the test chain's trader"))
_FUNDS: Final = {"WETH": 1000, "USDC": 10_000_000, "USDT": 10_000_000, "DAI": 10_000_000, "WBTC": 100}
_ETHER: Final = 10_000


@dataclass(frozen=True, slots=True)
class UniswapStack:
    """All of Uniswap on a fork.

    :ivar node: the fork; adapters connect to its `url`.
    :ivar upstream: what it forks, None with `$EXK_FORK_URL`.
    :ivar trader: an account with ether and with every token, and no allowance.
    """

    node: AnvilNode
    upstream: AnvilNode | None
    trader: LocalAccount

    @property
    def chain(self) -> Chain:
        """The controls of the fork."""
        return self.node.chain

    def balance(self, token: str, address: str | None = None) -> int:
        """What an account, else the trader, has of a token given by address, in its smallest units."""
        data = calldata("balanceOf(address)", address or self.trader.address)
        units: int = read(["uint256"], self.chain.call(token, data))[0]
        return units


@contextmanager
def uniswap_stack() -> Iterator[UniswapStack]:
    """Start it; with `$EXK_FORK_URL` the fork gets only what no real chain has, and the trader's money."""
    with forked_chain(_fill) as running:
        stack = UniswapStack(running.node, running.upstream, _TRADER)
        if running.upstream is None:
            _deal(stack)
        yield stack


def _fill(chain: Chain) -> None:
    owner, trader = _OWNER.address, _TRADER.address
    chain.set_balance(owner, 10**24)
    deploy(chain, owner)
    seed(chain, owner)
    chain.set_balance(trader, _ETHER * 10**18)
    for symbol, amount in _FUNDS.items():
        _give(chain, owner, TOKENS[symbol], trader, amount * 10 ** DECIMALS[symbol])
    _extras(chain)


def _extras(chain: Chain) -> None:
    deploy_extras(chain, _OWNER.address)
    seed_extras(chain, _OWNER.address)
    _give(chain, _OWNER.address, FEE_TOKEN, _TRADER.address, 1_000_000 * 10**18)


def _give(chain: Chain, owner: str, token: str, to: str, units: int) -> None:
    chain.transact(owner, token, calldata("transfer(address,uint256)", to, units))


def _deal(stack: UniswapStack) -> None:
    stack.chain.set_balance(stack.trader.address, _ETHER * 10**18)
    for symbol, amount in _FUNDS.items():
        units = amount * 10 ** DECIMALS[symbol]
        stack.chain.rpc("anvil_dealERC20", stack.trader.address, TOKENS[symbol], hex(units))
        if stack.balance(TOKENS[symbol]) != units:
            raise TestChainError(f"the trader could not be given {symbol} on the chain of $EXK_FORK_URL")
    if not stack.chain.code(FEE_TOKEN):
        stack.chain.set_balance(_OWNER.address, 10**24)
        _extras(stack.chain)
