"""Several operations in one: all or none, also among others of the same group commit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.tests.state.build import ACCOUNT, CountedIds, StillClock, bind, intent
from exchange_kernel.errors import IntentConflict
from exchange_kernel.models import Desired, IntentStatus
from exchange_kernel.state import IntentStateStore, MemoryIntentStore, SqlIntentStore
from exchange_kernel.state.ops import CancelIntents, CreateIntents, ModifyIntent, NewIntent
from exchange_kernel.state.sql.verify import verify
from exchange_kernel.state.together import LookAt, Together
from exchange_kernel.value import revised


def stores(folder: Path) -> list[IntentStateStore]:
    return [MemoryIntentStore(StillClock(), CountedIds()), SqlIntentStore(f"sqlite:///{folder / 'exk.db'}")]


def create(name: str, account: str = ACCOUNT) -> CreateIntents:
    return CreateIntents(account, (NewIntent(revised(intent(name), account=account)),), "tester")


def change(name: str, amount: str, expected: int) -> ModifyIntent:
    order = intent(name).order.but(amount=amount)
    return ModifyIntent(ACCOUNT, name, order, order.spec_hash(), "tester", None, expected)


@pytest.mark.parametrize("number", [0, 1])
def test_the_last_one_that_fails_takes_all_with_it(number: int, tmp_path: Path) -> None:
    """Created, cancelled and changed in one, on two accounts; the same with a last one that is refused writes nothing,
    while what others commit in the same moment is kept."""

    async def scene() -> None:
        store = stores(tmp_path)[number]
        await store.open()
        for account in (ACCOUNT, "other"):
            await store.execute(bind(account, identity=f"paper:{account}"))
        await store.execute(create("old"))
        wrong = Together(
            (create("new"), create("there", "other"), CancelIntents(ACCOUNT, ("old",), "t"), change("old", "7", 9))
        )
        results = await asyncio.gather(
            store.execute(create("before")),
            store.execute(wrong),
            store.execute(create("after")),
            return_exceptions=True,
        )
        assert results[0] == ("before",) and results[2] == ("after",)
        assert isinstance(results[1], IntentConflict)
        seen = await store.execute(LookAt(((ACCOUNT, "old"), (ACCOUNT, "new"), ("other", "there"), ("none", "x"))))
        assert list(seen) == [(ACCOUNT, "old")]
        assert (seen[(ACCOUNT, "old")].generation, seen[(ACCOUNT, "old")].desired) == (1, Desired.ACTIVE)

        right = Together((create("new"), create("there", "other"), change("old", "7", 1)))
        assert await store.execute(right) == (("new",), ("there",), 2)
        seen = await store.execute(LookAt(((ACCOUNT, "old"), ("other", "there"))))
        assert seen[(ACCOUNT, "old")].generation == 2
        assert seen[("other", "there")].status is IntentStatus.PENDING
        kinds = [event.kind for event in await store.events(ACCOUNT)]
        assert kinds == ["IntentCreated"] * 4 + ["IntentModified"]
        if isinstance(store, SqlIntentStore):
            assert not (await verify(store, ACCOUNT)).differences
        await store.close()

    asyncio.run(scene())
