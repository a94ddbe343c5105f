"""Keys show nowhere, and nothing is signed that the policy does not allow."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from decimal import Decimal
from pathlib import Path

import pytest
import rlp  # type: ignore[import-untyped]
from eth_account import Account

from exchange_kernel.errors import ConfigError, NotAuthorized
from exchange_kernel_evm.chains import CHAINS
from exchange_kernel_evm.config import EvmConfig
from exchange_kernel_evm.keys import LocalSigner, signer_of
from exchange_kernel_evm.policy import DAY_MS, Guard, Policy, PolicyRefused
from exchange_kernel_evm.spending import FileSpending
from exchange_kernel_evm.tokens import APPROVE, PERMIT2_APPROVE
from exchange_kernel_evm.transactions import Unsigned, decode, hash_of, key_of, self_transfer, tag, untagged

KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
ROUTER, TOKEN, STRANGER = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20
ADDRESS = Account.from_key(KEY).address


def test_a_key_shows_in_no_repr_error_copy_or_pickle() -> None:
    """A key in a log or a crash report is an account that is gone."""
    signer = asyncio.run(signer_of({"key": KEY}))
    shown = [repr(signer), str(signer), str(vars(type(signer)))]
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError) as error:
            act(signer)
        shown.append(str(error.value))
    for wrong in (KEY[:-1], KEY + "00", "zz" + KEY[2:], "00" * 32, "ff" * 32):
        with pytest.raises(ConfigError) as refused:
            asyncio.run(signer_of({"key": wrong}))
        shown.append(repr(refused.value) + str(refused.value.__cause__) + str(refused.value.__context__))
        assert wrong[2:20] not in shown[-1] or set(wrong) <= {"0"} or set(wrong) <= {"f"}
    assert not any(KEY[:12] in each for each in shown)


def test_a_keystore_opens_with_its_password_only(tmp_path: Path) -> None:
    """scrypt and nothing weaker; a wrong password is told without the file's content."""
    path = tmp_path / "key.json"
    path.write_text(json.dumps(Account.encrypt(KEY, "sesame", kdf="scrypt", iterations=1024)))
    assert asyncio.run(signer_of({"password": "sesame"}, str(path))).address == ADDRESS
    with pytest.raises(NotAuthorized, match="does not open"):
        asyncio.run(signer_of({"password": "wrong"}, str(path)))
    path.write_text(json.dumps(Account.encrypt(KEY, "sesame", kdf="pbkdf2", iterations=2)))
    with pytest.raises(ConfigError, match="scrypt"):
        asyncio.run(signer_of({"password": "sesame"}, str(path)))
    with pytest.raises(ConfigError, match="not both"):
        asyncio.run(signer_of({"key": KEY, "password": "sesame"}, str(path)))
    with pytest.raises(ConfigError, match="cannot be read"):
        asyncio.run(signer_of({"password": "sesame"}, str(tmp_path / "nothing")))


def test_an_address_that_is_only_looked_at_needs_no_key() -> None:
    """Without a key nobody signs, under no circumstances; an address that trades still needs one."""
    nobody = asyncio.run(signer_of({}, watched=ADDRESS))
    assert nobody.address == ADDRESS
    with pytest.raises(NotAuthorized, match="there is no key"):
        asyncio.run(nobody.sign(unsigned()))
    with pytest.raises(NotAuthorized, match="there is no key"):
        asyncio.run(nobody.sign_typed({}))
    assert isinstance(asyncio.run(signer_of({"key": KEY}, watched=ADDRESS)), LocalSigner)
    with pytest.raises(ConfigError, match="must be given"):
        asyncio.run(signer_of({}))


def unsigned(to: str = ROUTER, value: int = 0, data: bytes = b"\x01\x02\x03\x04", nonce: int = 0) -> Unsigned:
    return Unsigned(1, nonce, to, value, data, 50_000, 10, 1)


def test_a_signed_transaction_reads_back_as_it_was() -> None:
    """Its hash is known before it is sent, its sender is in its signature, and the tag is where it was put."""
    key = bytes(range(16))
    tx = Unsigned(1, 7, ADDRESS, 5, b"\xd0\xe3\x0d\xb0" + tag(key), 60_000, 30 * 10**9, 10**9)
    raw = asyncio.run(LocalSigner(bytes.fromhex(KEY)).sign(tx))
    read = decode(raw)
    assert (read.unsigned, read.sender, read.hash, read.key) == (tx, ADDRESS, hash_of(raw), key)
    assert untagged(tx.data) == b"\xd0\xe3\x0d\xb0"
    assert key_of(b"\x00" * 64) is None
    for broken in (raw[:-1], raw + b"\0", b"", b"\x01" + raw[1:]):
        with pytest.raises(ValueError, match=r".+"):
            decode(broken)


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_tag_is_made_of_a_key_of_sixteen_bytes_and_no_other(size: int) -> None:
    """Cut or padded keys could be one tag for two orders."""
    with pytest.raises(ValueError, match="16 bytes"):
        tag(bytes(size))


POLICY = Policy(
    1,
    contracts=frozenset({ROUTER}),
    tokens=frozenset({TOKEN}),
    spenders=frozenset({ROUTER}),
    max_value=100,
    max_value_per_day=150,
    max_fee_per_gas=10,
    max_fee=600_000,
)


def test_what_an_order_needs_is_allowed() -> None:
    """A call of the router, an approval for it, and nothing sent to oneself."""
    guard = Guard(POLICY, ADDRESS)
    for tx in (
        unsigned(value=100),
        unsigned(TOKEN, data=APPROVE.call(ROUTER, 5)),
        self_transfer(1, 0, ADDRESS, 10, 1),
        self_transfer(1, 0, ADDRESS, 10, 1, bytes(16)),
    ):
        guard.check(tx, 0)


@pytest.mark.parametrize(
    ("tx", "field"),
    [
        (Unsigned(5, 0, ROUTER, 0, b"", 21_000, 10, 1), "chain"),
        (unsigned(STRANGER), "to"),
        (unsigned(ADDRESS, value=1, data=b""), "to"),
        (unsigned(ADDRESS), "to"),
        (unsigned(TOKEN), "call"),
        (unsigned(TOKEN, data=bytes.fromhex("a9059cbb") + bytes(64)), "call"),
        (unsigned(ROUTER, data=bytes.fromhex("23b872dd") + bytes(96)), "call"),
        (unsigned(TOKEN, data=APPROVE.call(STRANGER, 5)), "spender"),
        (unsigned(ROUTER, data=PERMIT2_APPROVE.call(TOKEN, STRANGER, 5, 5)), "spender"),
        (unsigned(TOKEN, data=APPROVE.call(STRANGER, 5) + tag(bytes(16))), "spender"),
        (unsigned(TOKEN, data=APPROVE.call(ROUTER, 5)[:20]), "spender"),
        (unsigned(TOKEN, value=1, data=APPROVE.call(ROUTER, 5)), "value"),
        (unsigned(value=101), "value"),
        (Unsigned(1, 0, ROUTER, 0, b"", 21_000, 11, 1), "max_fee_per_gas"),
        (Unsigned(1, 0, ROUTER, 0, b"", 60_001, 10, 1), "fee"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_no_order_needs_is_refused_by_name(tx: Unsigned, field: str) -> None:
    """The field that is wrong is named, and what is signed elsewhere is not this module's worry."""
    with pytest.raises(PolicyRefused) as refused:
        Guard(POLICY, ADDRESS).check(tx, 0)
    assert refused.value.field == field


def test_the_value_of_a_day_adds_up_by_number_and_ends_at_midnight_utc() -> None:
    """A replacement does not count twice; tomorrow is another day."""
    guard = Guard(POLICY, ADDRESS)
    asyncio.run(guard.admit(unsigned(value=100, nonce=1), 5))
    guard.check(unsigned(value=100, nonce=1), 6)
    with pytest.raises(PolicyRefused, match="UTC day"):
        guard.check(unsigned(value=51, nonce=2), DAY_MS - 1)
    guard.check(unsigned(value=51, nonce=2), DAY_MS)


def test_the_sum_of_a_day_outlives_the_process(tmp_path: Path) -> None:
    """A guard that begins anew goes on where the last one was; two at once do not both get the rest of the day."""
    path = str(tmp_path / "spent.json")

    def guard() -> Guard:
        return Guard(POLICY, ADDRESS, FileSpending(path, 1, ADDRESS))

    asyncio.run(guard().admit(unsigned(value=100, nonce=1), 5))
    again = guard()
    with pytest.raises(PolicyRefused, match="UTC day"):
        asyncio.run(again.admit(unsigned(value=51, nonce=2), 6))
    asyncio.run(again.admit(unsigned(value=50, nonce=2), 6))
    with pytest.raises(PolicyRefused, match="UTC day"):
        guard().check(unsigned(value=1, nonce=3), 7)
    asyncio.run(again.admit(unsigned(value=100, nonce=3), DAY_MS))
    assert [each.name for each in tmp_path.iterdir()] == ["spent.json"]

    async def both() -> list[BaseException | None]:
        rest = (again.admit(unsigned(value=40, nonce=nonce), DAY_MS) for nonce in (4, 5))
        return await asyncio.gather(*rest, return_exceptions=True)

    assert sum(isinstance(each, PolicyRefused) for each in asyncio.run(both())) == 1


def test_a_sum_that_cannot_be_kept_signs_nothing(tmp_path: Path) -> None:
    """Another account's file, a broken one, no folder: said when it is opened; one that vanishes: when it is asked."""
    path = tmp_path / "in" / "spent.json"
    with pytest.raises(ConfigError, match="folder"):
        FileSpending(str(path), 1, ADDRESS)
    path.parent.mkdir()
    guard = Guard(POLICY, ADDRESS, FileSpending(str(path), 1, ADDRESS))
    asyncio.run(guard.admit(unsigned(value=1), 5))
    for chain, address in ((5, ADDRESS), (1, STRANGER)):
        with pytest.raises(ConfigError, match="on chain 1"):
            FileSpending(str(path), chain, address)
    path.write_text("{")
    with pytest.raises(ConfigError, match="mend it"):
        FileSpending(str(path), 1, ADDRESS)
    with pytest.raises(PolicyRefused, match="cannot be"):
        asyncio.run(guard.admit(unsigned(value=1), 6))
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(PolicyRefused, match="cannot be kept"):
        asyncio.run(guard.admit(unsigned(value=1), 7))


def test_typed_data_is_checked_like_a_call() -> None:
    """A permit signed for a stranger is an approval nobody sees on the chain."""
    guard = Guard(POLICY, ADDRESS)
    good = {"domain": {"chainId": 1, "verifyingContract": ROUTER}, "message": {"spender": ROUTER}}
    guard.check_typed(good)
    for change in (
        {"domain": {"chainId": 5, "verifyingContract": ROUTER}},
        {"domain": {"chainId": 1, "verifyingContract": STRANGER}},
        {"message": {"spender": STRANGER}},
    ):
        with pytest.raises(PolicyRefused):
            guard.check_typed({**good, **change})


def test_a_configuration_names_what_is_wrong_with_it() -> None:
    """Key, value and rule; and no address of a hosted node, which holds a key."""
    good = {"rpc": "http://127.0.0.1:1"}
    assert EvmConfig.of({**good, "max_fee_gwei": "1.5"}).limits.max_fee == int(Decimal("1.5e9"))
    assert EvmConfig.of(good).chain == CHAINS[1]
    for wrong, field in (
        ({"rpc": []}, "rpc"),
        ({"rpc": ["http://a/secret1", "http://a/secret1"]}, "rpc"),
        ({**good, "chain": "moon"}, "chain"),
        ({**good, "confirmations": 0}, "confirmations"),
        ({**good, "adress": "0x"}, "adress"),
        ({**good, "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAee"}, "address"),
        ({**good, "max_fee_gwei": "NaN"}, "max_fee_gwei"),
        ({**good, "max_fee_gwei": 1.5}, "max_fee_gwei"),
        ({**good, "timeout_s": 0}, "timeout_s"),
        ({**good, "max_value_eth_per_day": 1}, "spending"),
        ({**good, "spending": "sums.json"}, "spending"),
    ):
        with pytest.raises(ConfigError) as refused:
            EvmConfig.of(wrong)
        assert refused.value.field == field
        assert "secret1" not in str(refused.value)


def test_the_bytes_are_those_that_eth_account_would_sign() -> None:
    """Our own assembly against the library's, to the byte."""
    for nonce, value, data in ((0, 0, b""), (1, 10**18, b"\x00"), (300, 2**200, b"\xff" * 500)):
        tx = Unsigned(1, nonce, ADDRESS, value, data, 60_000, 30 * 10**9, 0)
        theirs = Account.sign_transaction(tx.fields(), KEY).raw_transaction
        assert asyncio.run(LocalSigner(bytes.fromhex(KEY)).sign(tx)) == bytes(theirs)


def test_a_signature_that_no_node_takes_is_none() -> None:
    """The other of the two that every signature has, a parity that is none, numbers written longer than they are."""
    tx = Unsigned(1, 7, ADDRESS, 5, b"\x01\x02", 60_000, 30 * 10**9, 1)
    raw = asyncio.run(LocalSigner(bytes.fromhex(KEY)).sign(tx))
    found = decode(raw)
    assert (found.unsigned, found.sender, found.hash) == (tx, ADDRESS, hash_of(raw))
    parity, r, s = (int.from_bytes(part, "big") for part in rlp.decode(raw[1:])[9:])
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    padded = [*rlp.decode(raw[1:])]
    padded[1] = b"\x00\x07"
    for wrong in (
        tx.signed(1 - parity, r, order - s),
        tx.signed(parity + 2, r, s),
        tx.signed(parity, 0, s),
        tx.signed(parity, r, 0),
        tx.signed(parity, 2**256 - 1, s),
        b"\x02" + rlp.encode(padded),
        raw[:-1],
        raw + b"\x00",
    ):
        with pytest.raises(ValueError, match=r"signature|short|whole"):
            decode(wrong)
    assert decode(tx.signed(1 - parity, r, s)).sender != ADDRESS
