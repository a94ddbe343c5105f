"""The controls of a test chain: money from nowhere, blocks on demand, snapshots, and reorganisations that are true."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from exchange_kernel.clock import SystemClock
from exchange_kernel_evm.testing.errors import TestChainError
from exchange_kernel_evm.testing.rpc import Rpc

__all__ = ["Chain", "Mark"]

_GAS: Final = 15_000_000
# At once where the machine is idle; then politely, so that those who ask do not keep the node from its work.
_EAGER: Final = 200
_PAUSE_S: Final = 0.005
_RECEIPT_TRIES: Final = 12_000
_LEFT_LYING: Final = 400
_STATE_TRIES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Mark:
    """A block that a reorganisation may go back to; good for one."""

    snapshot: str
    block: int


class Chain:
    """One node's chain as a test rules it. Amounts are wei.

    :ivar rpc: the connection, for calls that have no name here.
    """

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc

    @property
    def chain_id(self) -> int:
        """The chain's id."""
        return self.rpc.integer("eth_chainId")

    @property
    def head(self) -> int:
        """The number of the newest block."""
        return self.rpc.integer("eth_blockNumber")

    def balance(self, address: str) -> int:
        """What an account has, in wei."""
        return self.rpc.integer("eth_getBalance", address, "latest")

    def nonce(self, address: str) -> int:
        """How many transactions of an account are mined."""
        return self.rpc.integer("eth_getTransactionCount", address, "latest")

    def code(self, address: str) -> bytes:
        """The code at an address; empty for a plain account."""
        return bytes.fromhex(self.rpc("eth_getCode", address, "latest")[2:])

    def set_balance(self, address: str, wei: int) -> None:
        """Give an account exactly this much."""
        self.rpc("anvil_setBalance", address, hex(wei))

    def set_code(self, address: str, code: bytes) -> None:
        """Put code at an address."""
        self.rpc("anvil_setCode", address, "0x" + code.hex())

    def set_nonce(self, address: str, nonce: int) -> None:
        """Say which nonce an account uses next."""
        self.rpc("anvil_setNonce", address, hex(nonce))

    def set_base_fee(self, wei: int) -> None:
        """Say what the next block's base fee is; later blocks follow from it."""
        self.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))

    def automine(self, on: bool) -> None:
        """Whether each transaction gets a block at once; off, they wait in the pool for `mine`."""
        self.rpc("evm_setAutomine", on)

    def mine(self, blocks: int = 1) -> None:
        """Mine blocks; the first takes what the pool has."""
        self.rpc("anvil_mine", hex(blocks))

    def drop(self, transaction: str) -> bool:
        """Make the pool forget a transaction; False when it did not know it."""
        return self.rpc("anvil_dropTransaction", transaction) is not None

    def receipt(self, transaction: str) -> Mapping[str, Any] | None:
        """A transaction's receipt, None while it is not mined."""
        found: Mapping[str, Any] | None = self.rpc("eth_getTransactionReceipt", transaction)
        return found

    def wait_receipt(self, transaction: str) -> Mapping[str, Any]:
        """A transaction's receipt as soon as it is there: even automining takes a moment.

        :raises TestChainError: it is not mined; is automining off?
        """
        for tries in range(1, _RECEIPT_TRIES + 1):
            if (found := self.receipt(transaction)) is not None:
                return found
            if tries > _EAGER:
                threading.Event().wait(_PAUSE_S)
            if tries % _LEFT_LYING == 0 and self.rpc("anvil_getAutomine"):
                self.mine()  # on a busy machine anvil sometimes leaves a transaction until something else happens
        raise TestChainError(f"transaction {transaction} is not mined: is automining off?")

    def call(self, to: str, data: bytes, *, sender: str | None = None, value: int = 0) -> bytes:
        """What a call would return on the newest block.

        :raises RpcError: it reverts; `data` says with what.
        """
        request = {"to": to, "data": "0x" + data.hex(), "value": hex(value), "gas": hex(_GAS)}
        if sender is not None:
            request["from"] = sender
        return bytes.fromhex(self.rpc("eth_call", request, "latest")[2:])

    def transact(
        self, sender: str, to: str | None, data: bytes = b"", *, value: int = 0, gas: int = _GAS
    ) -> Mapping[str, Any]:
        """Send a transaction in anybody's name, without their key, and give its receipt; automining must be on.

        :raises TestChainError: it reverted.
        """
        self.rpc("anvil_impersonateAccount", sender)
        # Anvil's own choice of a nonce lags behind a receipt that is visible already.
        request = {"from": sender, "data": "0x" + data.hex(), "value": hex(value), "gas": hex(gas)}
        nonce = self.nonce(sender)
        request["nonce"] = hex(nonce)
        if to is not None:
            request["to"] = to
        receipt = self.wait_receipt(self.rpc("eth_sendTransaction", request))
        for _ in range(_STATE_TRIES):  # on a busy machine the state comes after its receipt, over what is set meanwhile
            if self.nonce(sender) > nonce:
                break
        if int(receipt["status"], 16) != 1:
            raise TestChainError(f"the transaction of {sender} to {to} reverted: {data[:4].hex()}, {receipt}")
        return receipt

    def snapshot(self) -> str:
        """Remember the state; `revert` goes back to it once."""
        taken: str = self.rpc("evm_snapshot")
        return taken

    def revert(self, snapshot: str) -> None:
        """Go back to a snapshot, with an empty pool, automining on, the base fee that follows from the head, and the
        machine's time: Anvil's own would go on from the snapshot's, and blocks would be as old as that is.

        :raises TestChainError: the snapshot is unknown or used.
        """
        self.rpc("anvil_dropAllTransactions")
        if not self.rpc("evm_revert", snapshot):
            raise TestChainError(f"there is no snapshot {snapshot}: each is good for one return")
        self.automine(True)
        # Anvil would go on with the base fee of the blocks that are gone.
        self.set_base_fee(self._following_base_fee())
        head = int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        self.rpc("evm_setTime", max(SystemClock().now_ms() // 1000, head + 1))

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Whatever happens inside has not happened afterwards."""
        taken = self.snapshot()
        try:
            yield
        finally:
            self.revert(taken)

    def mark(self) -> Mark:
        """Remember the newest block as the last one that a later `reorg` keeps."""
        return Mark(self.snapshot(), self.head)

    def reorg(self, mark: Mark) -> tuple[str, ...]:
        """Replace every block after the mark by an empty one with another hash, and give the transactions this voids.

        Neither `anvil_reorg` nor `anvil_rollback` is used: on a fork they leave balances of the voided blocks behind.
        The voided transactions are not in the pool; send the same bytes again to play a node that kept them.

        :raises TestChainError: nothing was mined since the mark, or it was used before.
        """
        head = self.head
        if head <= mark.block:
            raise TestChainError(f"nothing to reorganise: the head is block {head}, the mark {mark.block}")
        voided: list[str] = []
        for number in range(mark.block + 1, head + 1):
            voided += self.rpc("eth_getBlockByNumber", hex(number), False)["transactions"]
        self.revert(mark.snapshot)
        self.rpc("evm_increaseTime", 1)
        for _ in range(mark.block, head):
            self.rpc("anvil_mine", "0x1")
        return tuple(voided)

    def _following_base_fee(self) -> int:
        """What EIP-1559 says of the block after the head."""
        block = self.rpc("eth_getBlockByNumber", "latest", False)
        fee, used, limit = (int(block[key], 16) for key in ("baseFeePerGas", "gasUsed", "gasLimit"))
        target = limit // 2
        if used > target:
            return fee + max(fee * (used - target) // target // 8, 1)
        return fee - fee * (target - used) // target // 8
