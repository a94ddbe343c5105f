"""Two connections joined: what one side says in frames, or in lines, goes to the other until either ends."""

from __future__ import annotations

import contextlib

from exchange_kernel.testing.faults.context import Shared
from exchange_kernel.testing.faults.lines import LineReader
from exchange_kernel.testing.faults.link import Link
from exchange_kernel.testing.faults.records import Direction, Fate, RequestRecord
from exchange_kernel.testing.faults.upstream import UpstreamLost
from exchange_kernel.testing.faults.websocket import Relay, Side


async def relay_frames(client: Side, upstream: Side, record: RequestRecord, path: str, shared: Shared) -> None:
    """Forward what either says until one ends. ``record`` and ``path``: of the handshake, as on the wire."""
    relay = Relay(
        client,
        upstream,
        record,
        path,
        faults=shared.frames,
        log=shared.log,
        clock=shared.clock,
        max_body=shared.max_body,
        rpc_member=shared.rpc_member,
    )
    shared.relays.add(relay)
    try:
        await relay.run()
    finally:
        shared.relays.discard(relay)


async def carry_lines(link: Link, shared: Shared) -> None:
    """One client's connection where both sides speak in lines from the beginning."""
    record = shared.log.connection()
    try:
        asking = await shared.upstream.connect()
    except UpstreamLost as lost:
        shared.log.decide(record, Fate.UPSTREAM_DEAD)
        await link.end(lost.ending)
        return
    shared.log.decide(record, Fate.UPGRADED)
    client = Side(link, Direction.TO_UPSTREAM, b"", LineReader())
    upstream = Side(asking.link, Direction.TO_CLIENT, b"", LineReader())
    try:
        with contextlib.suppress(OSError):
            await relay_frames(client, upstream, record, "", shared)
    finally:
        await asking.link.drop()
        await link.drop()
