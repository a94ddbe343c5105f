"""What is encoded, read back by an independent decoder and by our own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from uniswap_universal_router_decoder import RouterCodec

from exchange_kernel.errors import ConfigError, Unsupported
from exchange_kernel.schema import AmountType, Side
from exchange_kernel.value import revised
from exchange_kernel.venue import Spec
from exchange_kernel_evm.transactions import tag
from exchange_kernel_uniswap import swap_router, universal_router
from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.calldata import sent_by, wanting
from exchange_kernel_uniswap.config import Market
from exchange_kernel_uniswap.deployment import MAINNET
from exchange_kernel_uniswap.orders import limited_draft, routes_for, swap_draft
from exchange_kernel_uniswap.permit2 import PermitSingle
from exchange_kernel_uniswap.pools import Version
from exchange_kernel_uniswap.routes import Route
from exchange_kernel_uniswap.swaps import Swap, swap_of
from plugins.uniswap.tests.ground import FAR, SYMBOLS, setup

ME = "0x" + "11" * 20
ROWS = [(side, amount_in) for side in Side for amount_in in AmountType]
ORACLE = RouterCodec()


def cases(*versions: str) -> list[tuple[Market, Route, Swap]]:
    """Every symbol, row and route of some releases; where there is no route there is no case."""
    found: list[tuple[Market, Route, Swap]] = []
    for version in versions:
        for symbol in SYMBOLS:
            try:
                market = setup(version, symbols=[symbol]).market(symbol)
            except ConfigError:
                continue
            for side, amount_in in ROWS:
                limit = Decimal("1E6") if side is Side.BUY else Decimal("1E-6")
                swap = swap_of(Spec(symbol, side, Decimal(3), amount_in, limit), market.base, market.quote)
                found.extend((market, route, swap) for route in routes_for(market, side))
    return found


def oracle(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments of the commands, as the independent decoder reads them."""
    _, read = ORACLE.decode.function_input(data)
    return [(command[0].fn_name, command[1]) for command in read["inputs"]]


def test_an_independent_decoder_reads_what_was_meant() -> None:
    """Every route, row and symbol of v2 and v3: commands in order, exact amounts, guards, paths, payer, recipient."""
    for _, route, swap in cases("v2", "v3"):
        read = oracle(swap_draft(MAINNET, route, swap, ME, FAR).data)
        way = "IN" if swap.exact_in else "OUT"
        names = [f"{route.version.upper()}_SWAP_EXACT_{way}"]
        names += ["UNWRAP_WETH"] * (route.unwraps + (route.wraps and not swap.exact_in))
        assert [name for name, _ in read] == ["WRAP_ETH"] * route.wraps + names
        name, given = read[route.wraps]
        first, second = ("amountIn", "amountOutMin") if swap.exact_in else ("amountOut", "amountInMax")
        assert (given[first], given[second]) == (swap.amount, swap.bound)
        assert given["payerIsSender"] is not route.wraps
        assert given["recipient"] == (universal_router.THE_ROUTER if route.unwraps else ME)
        if route.version is Version.V2:
            assert tuple(given["path"]) == route.path
        else:
            path = ORACLE.decode.v3_path(name, given["path"])
            assert tuple(path[::2]) == route.path
            assert list(path[1::2]) == [pool.fee for pool in route.pools]


def test_an_independent_decoder_reads_v4_plans() -> None:
    """Every route, row and symbol of v4: the swap with its keys, then pay all that is owed and take all that is due."""
    for _, route, swap in cases("v4"):
        read = oracle(swap_draft(MAINNET, route, swap, ME, FAR).data)
        _, plan = next(each for each in read if each[0] == "V4_SWAP")
        (act, given), (settle, paid), (take, got) = [(step[0].fn_name, step[1]) for step in plan["params"]]
        assert (settle, take) == ("SETTLE", "TAKE")
        assert paid == {"currency": route.path[0], "amount": 0, "payerIsUser": not route.wraps}
        recipient = universal_router.THE_ROUTER if route.unwraps else ME
        assert got == {"currency": route.path[-1], "recipient": recipient, "amount": 0}
        way = "IN" if swap.exact_in else "OUT"
        assert act == f"SWAP_EXACT_{way}" + "_SINGLE" * route.single
        (params,) = given.values()
        first, second = ("amountIn", "amountOutMinimum") if swap.exact_in else ("amountOut", "amountInMaximum")
        assert (params[first], params[second]) == (swap.amount, swap.bound)
        if route.single:
            assert tuple(params["PoolKey"].values()) == route.pools[0].key
            assert params["zeroForOne"] is (route.path[0] == route.pools[0].token0)
        names = [name for name, _ in read]
        back = "SWEEP" if route.path[0] == NATIVE else "UNWRAP_WETH" if route.wraps else None
        assert (back in names) if back and not swap.exact_in else "SWEEP" not in names


def test_what_was_sent_is_read_back() -> None:
    """By either router, whatever stands behind the arguments: the same route, amounts, recipient and deadline."""
    for market, route, swap in cases("v2", "v3", "v4"):
        for universal in (True, False):
            draft = swap_draft(MAINNET, route, swap, ME, FAR, universal=universal)
            for data in (draft.data, draft.data + b"\x5a" * 32):
                sent = sent_by(MAINNET, draft.to, data)
                assert sent is not None
                assert (sent.route, sent.exact_in, sent.amount, sent.bound) == (
                    route,
                    swap.exact_in,
                    swap.amount,
                    swap.bound,
                )
                assert (sent.recipient, sent.deadline, sent.sqrt_limit) == (ME, FAR, 0)
                assert (sent.token_in, sent.token_out) == (swap.token_in.address, swap.token_out.address)
        if route.version is Version.V3 and route.single:
            draft = limited_draft(MAINNET, market, route, swap, ME, FAR)
            sent = sent_by(MAINNET, draft.to, draft.data)
            assert sent is not None and sent.sqrt_limit > 0 and sent.route == route


def test_what_an_order_wanted_is_read_back_where_less_is_sent() -> None:
    """Before the tag or at the end; elsewhere the amount is all that was wanted."""
    _, route, swap = cases("v4")[0]
    draft = swap_draft(MAINNET, route, swap, ME, FAR)
    for tail in (b"", tag(b"k" * 16)):
        sent = sent_by(MAINNET, draft.to, draft.data + wanting(10**30) + tail)
        assert sent is not None and (sent.amount, sent.wanted) == (swap.amount, 10**30)
        sent = sent_by(MAINNET, draft.to, draft.data + tail)
        assert sent is not None and sent.wanted == sent.amount


def test_what_is_no_swap_of_ours_is_nothing() -> None:
    """Other contracts, other functions, cut or empty calldata."""
    _, route, swap = cases("v3")[0]
    draft = swap_draft(MAINNET, route, swap, ME, FAR)
    assert sent_by(MAINNET, MAINNET.permit2, draft.data) is None
    for data in (b"", b"\x00" * 4, draft.data[:100], draft.data[4:], universal_router.EXECUTE.call(b"", [], 1)):
        assert sent_by(MAINNET, draft.to, data) is None
        assert sent_by(MAINNET, MAINNET.swap_router, data) is None


def test_a_release_whose_encoding_is_not_known_is_refused() -> None:
    """Nothing is built for a router whose calldata we would guess; v4 is not sent to a router that lacks it."""
    _, route, swap = cases("v4")[0]
    with pytest.raises(ConfigError, match=r"universal_router_version '2\.1\.2': is not known"):
        swap_draft(revised(MAINNET, universal_router_version="2.1.2"), route, swap, ME, FAR)
    with pytest.raises(Unsupported, match="v4 pools are traded by the Universal Router"):
        swap_router.swap_draft(MAINNET, route, swap, ME, FAR)


def test_a_permit_is_signed_as_everybody_signs_it() -> None:
    """Our digest is that of the typed data, and the independent decoder reads the command."""
    account = Account.from_key("0x" + "a7" * 32)
    permit = PermitSingle(MAINNET.weth, MAINNET.universal_router, 10**18, FAR, 3, FAR - 1)
    signed = account.sign_message(encode_typed_data(full_message=permit.typed_data(MAINNET)))
    assert bytes(signed.message_hash) == permit.digest(MAINNET)
    _, route, swap = cases("v3")[0]
    draft = swap_draft(MAINNET, route, swap, ME, FAR, permit=permit.signed(bytes(signed.signature)))
    (name, given), *_ = oracle(draft.data)
    assert name == "PERMIT2_PERMIT"
    assert given["struct"] == {
        "details": {"token": MAINNET.weth, "amount": 10**18, "expiration": FAR, "nonce": 3},
        "spender": MAINNET.universal_router,
        "sigDeadline": FAR - 1,
    }
    assert given["data"] == bytes(signed.signature)
