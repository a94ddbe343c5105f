"""Tables and arithmetic: chains, answers of nodes, fees, tokens, branches of blocks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.errors import ConfigError, InvalidOrder, Unavailable, Unsupported
from exchange_kernel_evm.abi import Function, checked_address, revert_reason
from exchange_kernel_evm.answers import ROWS, Meaning, NodeError, meaning, revert_data
from exchange_kernel_evm.chains import CHAINS, Finality, chain_of
from exchange_kernel_evm.fees import (
    Fees,
    FeeTooHigh,
    History,
    Limits,
    estimate,
    gas_cost,
    is_stuck,
    read_history,
    replace,
)
from exchange_kernel_evm.finality import Branch, who_used
from exchange_kernel_evm.multicall import AGGREGATE3, Read, read_results
from exchange_kernel_evm.rpc import Block
from exchange_kernel_evm.tokens import (
    BALANCE_OF,
    TRANSFER,
    Allow,
    Token,
    approval_steps,
    net_transfers,
    permit2_steps,
    to_amount,
    to_units,
)

A, B, C = (CHAINS[1].wrapped, CHAINS[1].multicall3, CHAINS[1].permit2)


def test_a_chain_whose_fees_are_not_modelled_is_not_offered() -> None:
    """A rollup's transactions pay for data elsewhere too: unreported, that is a leak in every book."""
    for chain in CHAINS.values():
        if chain.fee_model != "eip1559":
            with pytest.raises(Unsupported, match="not modelled"):
                chain_of(chain.name)
    with pytest.raises(ConfigError, match="not in the table"):
        chain_of("moon")
    assert chain_of("1", confirmations=5).finality == Finality(confirmations=5)


@pytest.mark.parametrize(
    ("code", "message", "means"),
    [
        (-32000, "already known", Meaning.KNOWN),
        (-32003, "transaction already imported", Meaning.KNOWN),
        (-32010, "AlreadyKnown", Meaning.KNOWN),
        (-32000, "ALREADY_EXISTS: already known", Meaning.KNOWN),
        (-32000, "Known transaction", Meaning.KNOWN),
        (-32000, "existing txn with same hash", Meaning.KNOWN),
        (-32003, "Tx: [0x12] already Imported", Meaning.KNOWN),
        (-32003, "Tx: [0x12] insufficient gas price to replace existing transaction", Meaning.REPLACEMENT_UNDERPRICED),
        (-32000, "underpriced", Meaning.UNDERPRICED),
        (-32000, "IntrinsicGas", Meaning.INTRINSIC_GAS),
        (-32000, "gas limit is too high", Meaning.GAS_LIMIT),
        (-32000, "baseFee sub-pool is full", Meaning.POOL_FULL),
        (-32009, "Gas price below current base fee", Meaning.BELOW_BASE_FEE),
        (-32005, "Transaction gas limit exceeds block gas limit", Meaning.GAS_LIMIT),
        (-32005, "Requested range exceeds maximum RPC range limit", Meaning.RANGE),
        (-32000, "Max priority fee per gas exceeds max fee per gas", Meaning.TIP_ABOVE_FEE),
        (-32000, "Transaction nonce is too distant from current sender nonce", Meaning.NONCE_TOO_HIGH),
        (-32004, "transaction up-front cost 0x5 exceeds transaction sender account balance 0x1", Meaning.FUNDS),
        (-32000, "ChainId is required", Meaning.WRONG_CHAIN),
        (-32000, "invalid chain ID", Meaning.WRONG_CHAIN),
        (-32010, "nonce too far in future", Meaning.NONCE_TOO_HIGH),
        (4444, "pruned history unavailable", Meaning.NO_STATE),
        (-32000, "old data not available due to pruning", Meaning.NO_STATE),
        (-32000, "transaction gas price below minimum: gas tip cap 1, minimum needed 2", Meaning.UNDERPRICED),
        (-32000, "nonce too low: next nonce 5, tx nonce 4", Meaning.NONCE_TOO_LOW),
        (-32001, "Nonce too low", Meaning.NONCE_TOO_LOW),
        (-32010, "OldNonce, Current nonce: 5", Meaning.NONCE_TOO_LOW),
        (-32000, "replacement transaction underpriced", Meaning.REPLACEMENT_UNDERPRICED),
        (-32000, "INTERNAL_ERROR: could not replace existing tx", Meaning.REPLACEMENT_UNDERPRICED),
        (-32010, "ReplacementNotAllowed", Meaning.REPLACEMENT_UNDERPRICED),
        (-32000, "transaction underpriced: gas tip cap 1, minimum needed 2", Meaning.UNDERPRICED),
        (-32010, "FeeTooLowToCompete", Meaning.UNDERPRICED),
        (-32000, "Gas price below configured minimum gas price", Meaning.UNDERPRICED),
        (-32003, "max fee per gas less than block base fee", Meaning.BELOW_BASE_FEE),
        (-32003, "Insufficient funds for gas * price + value", Meaning.FUNDS),
        (-32000, "insufficient funds for gas * price + value: balance 0", Meaning.FUNDS),
        (-32010, "InsufficientFunds, Balance is zero", Meaning.FUNDS),
        (-32004, "Upfront cost exceeds account balance", Meaning.FUNDS),
        (-32000, "intrinsic gas too low", Meaning.INTRINSIC_GAS),
        (-32003, "Intrinsic gas exceeds gas limit", Meaning.INTRINSIC_GAS),
        (-32000, "exceeds block gas limit", Meaning.GAS_LIMIT),
        (-32000, "tx fee (2.00 ether) exceeds the configured cap (1.00 ether)", Meaning.FEE_CAP),
        (-32000, "invalid chain id for signer: have 5 want 1", Meaning.WRONG_CHAIN),
        (-32005, "limit exceeded", Meaning.RATE_LIMIT),
        (429, "HTTP 429", Meaning.RATE_LIMIT),
        (-32000, "Your app has exceeded its compute units per second capacity", Meaning.RATE_LIMIT),
        (3, "execution reverted: STF", Meaning.REVERTED),
        (-32000, "missing trie node 1234", Meaning.NO_STATE),
        (-32601, "whatever", Meaning.NO_METHOD),
        (-32000, "the moon is in the wrong phase", Meaning.UNKNOWN),
    ],
)
def test_a_nodes_answer_is_put_into_words_by_the_table(code: int, message: str, means: Meaning) -> None:
    """Nodes say the same thing in many ways; what no row knows is unknown."""
    assert meaning(code, message) is means


def test_every_row_of_the_table_says_where_it_is_written() -> None:
    """A row without a source is somebody's guess."""
    assert all(row.source and (row.pattern or row.code is not None) for row in ROWS)


def test_the_reason_of_a_revert_is_read() -> None:
    """From Error(string), Panic, and where there is only a selector."""
    text = bytes.fromhex("08c379a0") + bytes(31) + b"\x20" + bytes(31) + b"\x03" + b"STF" + bytes(29)
    error = NodeError("n", 3, "execution reverted", "0x" + text.hex())
    assert revert_reason(revert_data(error)) == "STF"
    assert revert_reason(bytes.fromhex("4e487b71") + bytes(31) + b"\x11") == "panic 0x11"
    assert revert_reason(bytes.fromhex("deadbeef")) == "error 0xdeadbeef"
    assert revert_reason(None) == "no reason given"


GWEI = 10**9


@given(st.integers(0, 400 * GWEI), st.integers(0, 16 * GWEI))
def test_a_replacement_beats_both_fees_by_more_than_a_tenth(cap: int, tip: int) -> None:
    """Nodes look at each of the two; one that rises alone keeps the old transaction in the pool."""
    old = Fees(max(cap, tip), tip)
    new = replace(old, Fees(1, 1), Limits(max_fee=10**15, max_tip=10**15))
    for was, now in ((old.max_fee, new.max_fee), (old.tip, new.tip)):
        assert now > was
        assert now * 10 >= was * 11
        assert now * 1000 >= was * 1125
    assert new.max_fee >= new.tip


def test_fees_follow_the_chain_up_to_the_limit() -> None:
    """Twice the base fee and the tip that half the gas paid; beyond the limit there is nothing to sign."""
    assert estimate(History(10 * GWEI, (1 * GWEI, 3 * GWEI, 2 * GWEI)), Limits()) == Fees(22 * GWEI, 2 * GWEI)
    assert estimate(History(10 * GWEI, ()), Limits(min_tip=7)) == Fees(20 * GWEI + 7, 7)
    assert estimate(History(10 * GWEI, (9 * GWEI,)), Limits(max_fee=15 * GWEI, max_tip=GWEI)) == Fees(15 * GWEI, GWEI)
    with pytest.raises(FeeTooHigh, match="base fee"):
        estimate(History(10 * GWEI, ()), Limits(max_fee=9 * GWEI))
    with pytest.raises(FeeTooHigh, match="replacement"):
        replace(Fees(9 * GWEI, 1), Fees(1, 1), Limits(max_fee=10 * GWEI))
    assert replace(Fees(10, 1), Fees(50, 5), Limits()) == Fees(50, 5)
    history = {"baseFeePerGas": ["0x5", "0x6"], "gasUsedRatio": [0.0], "reward": [["0x0"]]}
    assert read_history(history) == History(6, ())
    with pytest.raises(Unavailable):
        read_history({"baseFeePerGas": []})


def test_what_is_stuck_is_told_with_the_reason() -> None:
    """A cap below the base fee, or blocks that went by."""
    assert is_stuck(Fees(10, 1), 11, 0)
    assert is_stuck(Fees(10, 1), 5, 3)
    assert not is_stuck(Fees(10, 1), 10, 2)
    assert gas_cost({"gasUsed": "0x5208", "effectiveGasPrice": "0x2"}) == 42_000


USDT = Token(A, "USDT", 6, reset_first=True)


def test_an_allowance_is_set_in_the_steps_its_token_allows() -> None:
    """Exact by default; a token that must be reset first is."""
    assert approval_steps(USDT, B, 5, 5) == ()
    assert [step.amount for step in approval_steps(USDT, B, 0, 5)] == [5]
    assert [step.amount for step in approval_steps(USDT, B, 3, 5)] == [0, 5]
    plain = Token(A, "DAI", 18)
    assert [step.amount for step in approval_steps(plain, B, 3, 5)] == [5]
    assert [step.amount for step in approval_steps(plain, B, 3, 5, Allow("bounded", 50))] == [50]
    assert [step.amount for step in approval_steps(plain, B, 3, 70, Allow("bounded", 50))] == [70]
    assert permit2_steps(plain, C, B, (9, 100), 9, 100) == ()
    (late,) = permit2_steps(plain, C, B, (9, 99), 9, 100)
    assert (late.to, late.amount) == (C, 9)


def log(sender: str, receiver: str, units: int, **more: Any) -> dict[str, Any]:
    topics = [TRANSFER.topic, *("0x" + each[2:].lower().rjust(64, "0") for each in (sender, receiver))]
    return {"address": A.lower(), "topics": topics, "data": f"0x{units:064x}", **more}


def test_what_a_transaction_moved_is_what_its_logs_say() -> None:
    """In and out are netted, to oneself is nothing, and a log that a reorganisation removed does not count."""
    logs = [log(B, C, 100), log(C, B, 30), log(B, B, 7), log(B, C, 1, removed=True), {"topics": [], "data": "0x"}]
    assert net_transfers(logs, B) == {A: -70}
    assert net_transfers(logs, C) == {A: 70}


@given(st.integers(0, 2**256 - 1), st.integers(0, 36))
def test_units_and_amounts_are_one_and_the_same(units: int, decimals: int) -> None:
    """No digit is lost between a contract's integers and the order's decimals."""
    assert to_units("amount", to_amount(units, decimals), decimals) == units


def test_an_amount_finer_than_its_token_is_refused() -> None:
    """Rounded silently it would be another order."""
    with pytest.raises(InvalidOrder, match="6 decimals"):
        to_units("amount", Decimal("0.0000001"), 6)


def test_addresses_are_checked_by_their_checksum() -> None:
    """One wrong digit is somebody else's account."""
    assert checked_address("a", A.lower()) == A
    for wrong in (A[:-1], A[2:], A.swapcase().replace("0X", "0x"), "0x" + "zz" * 20, 5):
        with pytest.raises(ConfigError):
            checked_address("a", wrong)


def test_a_multicall_answers_read_by_read() -> None:
    """A read that may fail fails alone; an answer for other reads is no answer."""
    reads = [Read(A, BALANCE_OF, (B,)), Read(A, BALANCE_OF, (C,), may_fail=True)]
    answer = Function.of("x", AGGREGATE3.returns).call([(True, (7).to_bytes(32, "big")), (False, b"")])[4:]
    found = read_results("0x" + answer.hex(), reads)
    assert [each.values for each in found] == [(7,), None]
    with pytest.raises(Unavailable, match="2 of 1"):
        read_results("0x" + answer.hex(), reads[:1])
    with pytest.raises(Unavailable):
        read_results("0x12", reads)


def block(number: int, name: str, parent: str) -> Block:
    return Block(number, name, parent, number * 1000, 7)


def test_a_branch_says_which_blocks_a_reorganisation_took() -> None:
    """New blocks on the old ones, a fork in the middle, a fork as long as all that is known, and a head gone back."""
    line = [block(n, f"a{n}", f"a{n - 1}") for n in range(1, 6)]
    branch = Branch()
    assert branch.add(line[:3]).fresh == tuple(line[:3])
    assert branch.add(line[3:]).fresh == tuple(line[3:])
    assert branch.add([line[4]]).fresh == ()
    fork = [block(4, "b4", "a3"), block(5, "b5", "b4"), block(6, "b6", "b5")]
    step = branch.add(fork)
    assert ([each.hash for each in step.gone], [each.hash for each in step.fresh]) == (["a5", "a4"], ["b4", "b5", "b6"])
    step = branch.add([fork[1]])
    assert ([each.hash for each in step.gone], step.fresh) == (["b6"], ())
    assert branch.add([block(9, "c9", "c8")]).gap is not None
    other = [block(n, f"d{n}", f"d{n - 1}") for n in range(1, 8)]
    step = branch.add(other)
    assert (len(step.gone), len(step.fresh), branch.head) == (5, 7, other[-1])
    with pytest.raises(Unavailable, match="not the child"):
        branch.add([block(8, "d8", "d7"), block(9, "e9", "e8")])


def test_the_user_of_a_number_is_found_among_a_blocks_transactions() -> None:
    """By address and number, whatever the case of the address."""
    rows = [{"from": A.lower(), "nonce": "0x1", "hash": "0xAA"}, {"from": B.lower(), "nonce": "0x2", "hash": "0xBB"}]
    assert who_used(rows, A, 1) is rows[0]
    assert who_used(rows, A, 2) is None
