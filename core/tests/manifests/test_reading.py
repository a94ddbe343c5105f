"""Manifests are read strictly: what stands there is what is meant, or every error is told with its place."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import pytest

from exchange_kernel.manifests import APPLIED, Declared, ManifestError, Source, find_files, read_manifests
from exchange_kernel.schema import Side, TimeInForce

HEAD = "apiVersion: exchange-kernel/v1\nkind: Order\nmetadata: {name: a, account: x}\n"
SPEC = "symbol_id: BTC/USD, side: BUY, amount: '1', limit_price: '10'"


def read(text: str | bytes, account: str | None = "x") -> list[Declared]:
    raw = text.encode() if isinstance(text, str) else text
    return read_manifests([Source("f.yaml", raw)], account)


def refused(text: str | bytes) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read(text)
    return str(caught.value).splitlines()


def order(**changed: str) -> str:
    """A sound order but for what is changed."""
    fields = {"symbol_id": "BTC/USD", "side": "BUY", "amount": "1", "limit_price": "10", **changed}
    return HEAD + "spec:\n" + "".join(f"  {name}: {value}\n" for name, value in fields.items())


def test_documents_become_orders_with_their_places() -> None:
    """Several documents, a group among them: each order has its account, labels, group, and where its fields stand."""
    found = read(
        HEAD + f"spec: {{{SPEC}}}\n"
        "---\n"
        "apiVersion: exchange-kernel/v1\n"
        "kind: OrderGroup\n"
        "metadata: {name: pair, labels: {app: demo}}\n"
        "spec:\n"
        "  orders:\n"
        f"    - {{name: b, {SPEC}}}\n"
        "    - name: c\n"
        "      symbol_id: ETH/USD\n"
        "      side: SELL\n"
        "      amount: 0.1\n"
        "      time_in_force: GTD\n"
        "      expire_at: 2099-12-31T12:00:00+01:00\n"
    )
    assert [(each.name, each.account, each.group) for each in found] == [
        ("a", "x", None),
        ("b", "x", "pair"),
        ("c", "x", "pair"),
    ]
    assert found[1].labels == {"app": "demo", APPLIED: "yes"}
    last = found[2]
    assert (last.order.side, last.order.amount, last.order.time_in_force) == (
        Side.SELL,
        Decimal("0.1"),
        TimeInForce.GTD,
    )
    assert last.order.expire_at == 4_102_398_000_000
    assert (last.place("amount").line, last.place("amount").column) == (15, 7)
    assert last.place("nowhere.at.all") == last.place("")


def test_every_error_of_every_document_is_told_at_once_and_in_order() -> None:
    """Head, labels, unknown and wrong fields, a second document: one message names them all, each with line and
    column."""
    lines = refused(
        "apiVersion: exchange-kernel/v1\n"
        "kind: Order\n"
        "metadata: {name: 'bad name', acount: x, labels: {a: 1}}\n"
        "spec: {symbol_id: BTC/USD, side: buy, amount: .nan, limit_prce: 3, post_only: yes}\n"
        "status: {phase: done}\n"
        "---\n" + order(amount="1e5")
    )
    assert [line.partition(" ")[0] for line in lines] == [
        "f.yaml:3:12:",
        "f.yaml:3:30:",
        "f.yaml:3:50:",
        "f.yaml:4:28:",
        "f.yaml:4:39:",
        "f.yaml:4:53:",
        "f.yaml:4:68:",
        "f.yaml:5:1:",
        "f.yaml:13:3:",
    ]
    assert "did you mean account?" in lines[1]
    assert "did you mean BUY?" in lines[3]
    assert "did you mean limit_price?" in lines[5]
    assert "the kernel's to say" in lines[7]


# Numbers as in the list of hostile inputs; what a venue, a store or a network has to say of is tested there.
HOSTILE = {
    "1 NaN": (order(amount="NaN"), "spec.amount 'NaN'"),
    "1 sNaN": (order(amount="sNaN"), "spec.amount 'sNaN'"),
    "2 .nan": (order(amount=".nan"), "spec.amount '.nan'"),
    "3 Infinity": (order(amount="Infinity"), "spec.amount"),
    "3 .inf": (order(limit_price=".inf"), "spec.limit_price '.inf'"),
    "4 1e400": (order(amount="1e400"), "exponent"),
    "5 1e999999999": (order(amount="1e999999999"), "exponent"),
    "6 1E-400": (order(amount="1E-400"), "exponent"),
    "7 5000 digits": (order(amount="9" * 5000), "at most 4096 characters"),
    "7 4000 digits": (order(amount="9" * 4000), "more than 60 digits"),
    "8 -1": (order(amount="-1"), "greater than 0"),
    "8 0": (order(amount="0"), "greater than 0"),
    "8 -0": (order(amount="-0"), "greater than 0"),
    "9 1,5": (order(amount="'1,5'"), "not a plain decimal"),
    "9 0x10": (order(amount="0x10"), "not a plain decimal"),
    "9 empty": (order(amount="''"), "spec.amount"),
    "9 spaces": (order(amount="' 5 '"), "spaces around it"),
    "10 1_000": (order(amount="1_000"), "not a plain decimal"),
    "11 full width": (order(amount="'\uff11\uff12'"), "not ASCII digits"),
    "11 Arabic": (order(amount="'\u0663'"), "not ASCII digits"),
    "12 true": (order(amount="true"), "is not a number"),
    "12 null": (order(amount="null"), "spec.amount: is required"),
    "12 list": (order(amount="[]"), "is not a number"),
    "12 mapping": (order(amount="{}"), "is not a number"),
    "21 duplicate key": (order() + "  amount: 2\n", "stands here twice"),
    "25 long name": (order().replace("name: a", "name: " + "a" * 4000), "metadata.name"),
    "25 empty name": (order().replace("name: a", "name: ''"), "metadata.name ''"),
    "25 newline": (order().replace("name: a", 'name: "a\\nb"'), "metadata.name"),
    "25 NUL": (order().replace("name: a", 'name: "a\\0b"'), "metadata.name"),
    "25 path": (order().replace("name: a", "name: ../../etc"), "metadata.name"),
    "26 Cyrillic a": (order().replace("name: a", "name: \u0430"), "metadata.name"),
    "26 joiner": (order().replace("name: a", "name: a\u200db"), "metadata.name"),
    "27 zero-width in a symbol": (order(symbol_id='"BTC/USD\\u200b"'), "spec.symbol_id"),
    "28 SQL as a name": (order().replace("name: a", 'name: "\'; DROP TABLE intents;--"'), "metadata.name"),
    "31 alias bomb": ("a: &a [x,x]\nb: &b [*a,*a]\n", "anchors and aliases"),
    "32 brackets": ("[" * 30_000, "nested more than"),
    "33 a Python object": ("!!python/object/apply:os.system ['true']", "tags are not allowed"),
    "34 NO as a side": (order(side="NO"), "spec.side 'NO'"),
    "34 12:30:45": (order(amount="12:30:45"), "not a plain decimal"),
    "35 recursive alias": ("&a [*a]", "anchors and aliases"),
    "36 merge key": (HEAD + "spec:\n  <<: {amount: 1}\n", "merge keys"),
    "37 a large body": (b"#" * 4_194_305, "at most 4194304 bytes"),
    "38 deep": ("{a: " * 5_000, "nested more than"),
    "39 invalid UTF-8": (b"a: \xff\xfe", "not UTF-8"),
    "39 UTF-16": ("a: 1".encode("utf-16"), "not UTF-8"),
    "40 unknown field": (order(limit_prce="3"), "did you mean limit_price?"),
    "41 status": (order() + "status: {}\n", "status: is no field"),
    "41 resourceVersion": (order() + "resourceVersion: 3\n", "resourceVersion: is no field"),
    "42 post-only IOC": (order(post_only="true", time_in_force="IOC"), "does not go with IOC"),
    "42 iceberg above amount": (order(iceberg_qty="2"), "above the amount"),
    "42 slippage on a limit order": (order(max_slippage="0.1"), "only for market orders"),
    "43 no zone": (order(time_in_force="GTD", expire_at="2099-01-01T00:00:00"), "write it with its zone"),
    "43 leap second": (order(time_in_force="GTD", expire_at="2016-12-31T23:59:60Z"), "is not a time"),
    "43 year 9999": (order(time_in_force="GTD", expire_at="9999-12-31T23:59:59Z"), "between 1970 and the year 9999"),
    "a document that is a list": ("[1, 2]", "must be a mapping"),
    "an empty file": ("", "is empty"),
    "only a comment": ("# nothing\n", "is empty"),
    "no spec": (HEAD, "spec: is required"),
    "another kind": (order().replace("kind: Order", "kind: Odrer"), "did you mean Order?"),
    "another version": (order().replace("kernel/v1", "kernel/v9"), "must be exchange-kernel/v1"),
    "a label that is a number": (order().replace("account: x", "labels: {a: 1}"), "put it in quotes"),
    "a label of the kernel's": (order().replace("account: x", "labels: {exk/applied: no}"), "the kernel's own"),
    "an unknown trigger field": (
        order(conditional_trigger="{kind: STOP_LOSS, trigger_prce: 3}", conditional_mode="STANDALONE"),
        "did you mean trigger_price?",
    ),
    "a wrong trigger price": (
        order(conditional_trigger="{kind: STOP_LOSS, trigger_price: -3}", conditional_mode="STANDALONE"),
        "conditional_trigger.trigger_price",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_input_is_refused_with_its_place_and_rule(what: str) -> None:
    """Each is refused, says where it stands, and says why; nothing takes longer than it takes to read."""
    text, rule = HOSTILE[what]
    began = time.process_time()
    lines = refused(text)
    assert time.process_time() - began < 2, "a bomb went off"
    assert any(rule in line for line in lines), lines
    assert all(line.startswith("f.yaml:") for line in lines)
    assert all(len(line) < 1000 and line.isprintable() for line in lines)


def test_a_name_that_stands_twice_is_refused_with_both_places() -> None:
    """The second one is named with the first one's place; another account may have an order of that name."""
    lines = refused(order() + "---\n" + order())
    assert lines == [
        "f.yaml:12:12: metadata.name 'a': stands at f.yaml:3:12 already, for account x; a name is one order"
    ]
    assert len(read(order() + "---\n" + order().replace("account: x", "account: y"))) == 2


def test_numbers_are_what_stands_there() -> None:
    """Unquoted, quoted, or with zeros at the end: the digits that stand there, never a rounded float."""
    for written, amount in (("0.1", "0.1"), ("'0.1'", "0.1"), ("0.30000000000000004", "0.30000000000000004")):
        assert read(order(amount=written))[0].order.amount == Decimal(amount)
    assert read(order(amount="017"))[0].order.amount == 17


def test_a_manifest_without_account_needs_one_from_outside() -> None:
    """It is the named account's, or refused."""
    text = order().replace(", account: x", "")
    assert read(text, "solo")[0].account == "solo"
    with pytest.raises(ManifestError, match=r"metadata\.account: is required; name it here or with --account"):
        read(text, None)


def test_folders_are_read_in_order_and_not_below(tmp_path: Path) -> None:
    """.yaml, .yml and .json by name; other files and folders are left alone; an address is no file."""
    for name in ("b.yml", "a.yaml", "c.json", "d.txt"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "below").mkdir()
    found = find_files([str(tmp_path)])
    assert [Path(each.name).name for each in found] == ["a.yaml", "b.yml", "c.json"]
    for bad, why in (("https://a/b", "only files are read"), (str(tmp_path / "none"), "cannot be read")):
        with pytest.raises(ManifestError, match=why):
            find_files([bad])
    with pytest.raises(ManifestError, match=r"no \.yaml"):
        find_files([str(tmp_path / "below")])
