"""The tickets each release of the paper venue made, as its stores keep them: later releases must still recover them.

``python -m plugins.paper.tests.golden_tickets`` writes those of this release, once: what a release has left in people's
stores does not change any more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from exchange_kernel.schema import AmountType, TimeInForce
from exchange_kernel.state.rows import TicketKind, TicketRow
from exchange_kernel.state.sql import codec
from exchange_kernel.state.sql.columns import read_ticket, ticket_row
from exchange_kernel.value import Value, revised
from exchange_kernel.venue import FOREVER, Amend, Burn, Cancel, Command, Place, Ref, Spec, Ticket
from plugins.paper.tests.session import Session, key, scenario, spec

FOLDER = Path(__file__).parent / "golden"
FENCES = ("time_window", "sequence", "height", "permanent_key", "none")
RELEASE = version("exchange-kernel-paper")


class Attempt(Value, frozen=True):
    """One attempt of a release. ``name``: what it is an example of."""

    name: str
    ref: Ref

    @property
    def wanted(self) -> Spec:
        """What the order is once all of its tickets have arrived."""
        assert self.ref.spec is not None
        return revised(self.ref.spec, amount=self.ref.spec.amount * 2) if self.name == "amended" else self.ref.spec


class Golden(Value, frozen=True):
    """What one release left behind for one fence. ``made_at``: the exchange's ms UTC."""

    release: str
    fence: str
    made_at: int
    attempts: tuple[Attempt, ...]


async def make(session: Session) -> tuple[Attempt, ...]:
    """Attempts of every kind, prepared and not sent."""
    day = session.now() + 86_400_000
    shapes = {
        "limit": spec(amount="1.5", limit="100.25"),
        "sale": spec("SELL", amount="0.25", limit="200"),
        "post-only iceberg until tomorrow": spec(
            amount="10", limit="90", tif=TimeInForce.GTD, until=day, post_only=True, display=spec().amount
        ),
        "in quote": spec(amount="500", limit="100", amount_in=AmountType.QUOTE),
        "amended": spec(amount="2"),
        "cancelled": spec(amount="3"),
        "burnt": spec(amount="4"),
    }
    fence = session.exchange.settings.fence
    skipped = {"burnt"} if fence == "none" else set()
    if fence == "none":
        skipped |= {"amended", "cancelled"}  # only the answer to an order tells what they would have to name
    if fence != "sequence":
        skipped |= {"burnt"}
    made = []
    for number, (name, order) in enumerate(shapes.items()):
        if name not in skipped:
            made.append(await _attempt(session, 10 * (number + 1), name, order))
    return tuple(made)


async def _attempt(session: Session, number: int, name: str, order: Spec) -> Attempt:
    exact = session.adapter.check(order).spec
    placed_at = session.now() + session.opened.clock_offset - session.opened.clock_error
    first = await session.ticket(Place(key(number), exact), give_up=FOREVER)
    ref = Ref(key(number), exact.symbol, exact, placed_at, (), (first,))
    command: Command | None = None
    if name == "amended":
        command = Amend(key(number + 1), ref, revised(exact, amount=exact.amount * 2))
    elif name == "cancelled":
        command = Cancel(key(number + 1), ref)
    elif name == "burnt":
        assert first.slot is not None
        command = Burn(key(number + 1), first.slot)
    if command is not None:
        more = {"instead_of": first} if name == "burnt" else {}
        second = await session.ticket(command, give_up=FOREVER, **more)
        ref = revised(ref, tickets=(first, second))
    return Attempt(name, ref)


def written(golden: Golden) -> str:
    """As JSON, tickets in the form in which stores keep them."""
    return (
        json.dumps(
            {
                "release": golden.release,
                "fence": golden.fence,
                "made_at": golden.made_at,
                "attempts": [
                    {
                        "name": each.name,
                        "key": each.ref.key.hex(),
                        "spec": codec.spec(each.ref.spec) if each.ref.spec else None,
                        "placed_at": each.ref.placed_at,
                        "tickets": [_row(ticket) for ticket in each.ref.tickets],
                    }
                    for each in golden.attempts
                ],
            },
            indent=1,
            default=_bytes,
        )
        + "\n"
    )


def read(text: str) -> Golden:
    """From JSON, by today's way to read a store."""
    data = json.loads(text, object_hook=_read_bytes)
    attempts = []
    for each in data["attempts"]:
        order = codec.read_spec(each["spec"])
        tickets = tuple(read_ticket(tuple(row)).ticket for row in each["tickets"])
        ref = Ref(bytes.fromhex(each["key"]), order.symbol, order, each["placed_at"], (), tickets)
        attempts.append(Attempt(each["name"], ref))
    return Golden(data["release"], data["fence"], data["made_at"], tuple(attempts))


def _bytes(data: bytes) -> dict[str, str]:
    """Bodies as the text that they are, keys in hex."""
    return {"ascii": data.decode("ascii")} if data.startswith(b"{") else {"hex": data.hex()}


def _read_bytes(node: dict[str, Any]) -> Any:
    if set(node) == {"ascii"}:
        return node["ascii"].encode("ascii")
    return bytes.fromhex(node["hex"]) if set(node) == {"hex"} else node


def _row(ticket: Ticket) -> Sequence[Any]:
    return ticket_row("main", "golden", TicketRow(1, 1, TicketKind.PLACE, 1, ticket))


def kept() -> list[Path]:
    """Every file there is."""
    return sorted(FOLDER.glob("*/*.json"))


def main() -> None:
    """Write the files of this release."""
    folder = FOLDER / RELEASE
    folder.mkdir(parents=True, exist_ok=True)
    for fence in FENCES:
        path = folder / f"{fence}.json"
        if path.exists():
            print(f"{path} is there: it stays as it is")
            continue
        session = Session(fence=fence)
        made_at = session.now()
        path.write_text(written(Golden(RELEASE, fence, made_at, scenario(session, make))), encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
