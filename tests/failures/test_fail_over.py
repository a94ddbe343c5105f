"""A PostgreSQL fail-over that lost commits, under a kernel: it recovers, doubles nothing, and parks what it forgot."""

from __future__ import annotations

import asyncio

from sqlalchemy import make_url

from exchange_kernel.models import IntentStatus
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.testing.servers import PostgresServer
from exchange_kernel.testing.standby import StandbyServer
from tests.failures.shop import ACCOUNT, Shop, buy, until


def test_a_fail_over_that_lost_commits_doubles_nothing_and_parks_what_was_forgotten() -> None:
    """An order's declaration is on the killed primary only. The kernel that starts on the promoted standby is
    RECOVERING until it has searched the venue; the order is found and parked; declared again, it is not sent again."""

    async def run(primary: PostgresServer, standby: StandbyServer, url: str) -> None:
        shop = Shop(either(url, standby.url_of(url)))
        await shop.kernel.start()
        await shop.kernel.place_order(buy("0.2"), "old")
        await shop.reaches("old", IntentStatus.WORKING)
        standby.follow()
        standby.lag()
        await shop.kernel.place_order(buy("0.3"), "new")
        await shop.reaches("new", IntentStatus.WORKING)
        await asyncio.to_thread(primary.stop, kill=True)
        await asyncio.to_thread(standby.promote)
        await shop.kernel.stop()

        shop.store = SqlIntentStore(shop.url)
        shop.kernel = shop.new_kernel()
        kinds: list[str] = []
        await shop.kernel.start()
        shop.kernel.subscribe_events(lambda event: kinds.append(event.kind), after=0)
        await until(lambda: {"RecoveryStarted", "RecoveryFinished"} <= set(kinds), "the account has recovered")
        row = await shop.store.store_row()
        assert (row.incarnation, row.suspicion) == (2, None)
        [forgotten] = [i.intent_id for i in await shop.kernel.get_all_intents() if i.intent_id != "old"]
        assert forgotten.startswith("orphan-")
        assert (await shop.kernel.get_order_state(forgotten)).status is IntentStatus.PARKED
        assert (await shop.kernel.get_order_state("old")).status is IntentStatus.WORKING
        await shop.kernel.place_order(buy("0.3"), "new")
        await shop.reaches("new", IntentStatus.PARKED)
        await shop.kernel.force_reconciliation()
        assert sorted(str(order.most) for order in shop.exchange.ledger.orders()) == ["0.2", "0.3"]
        assert len(shop.exchange.account(ACCOUNT).open) == 2
        await shop.kernel.stop()

    with PostgresServer() as primary:
        url = primary.new_database()
        with StandbyServer(primary) as standby:
            asyncio.run(run(primary, standby, url))


def either(primary: str, standby: str) -> str:
    """One address for both: whichever takes writes."""
    one, two = make_url(primary), make_url(standby)
    hosts = [f"{url.host}:{url.port}" for url in (one, two)]
    both = one.set(host=None, port=None).update_query_dict({"host": hosts, "target_session_attrs": "read-write"})
    return both.render_as_string(hide_password=False)
