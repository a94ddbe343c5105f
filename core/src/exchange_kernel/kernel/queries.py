"""What is wanted, what is true, and what may be traded."""

from __future__ import annotations

from exchange_kernel.errors import UnknownIntent, UnknownSymbol
from exchange_kernel.kernel.account import Account
from exchange_kernel.kernel.checking import find_symbol
from exchange_kernel.models import AccountState, Asset, OrderIntent, OrderState, Origin, Position
from exchange_kernel.orders.validate import suggest
from exchange_kernel.reconcile.states import light_state, state_of
from exchange_kernel.schema import AssetMetadata, AssetType, SymbolMetadata
from exchange_kernel.state.rows import Record, is_step


class Queries(Account):
    """Answers, from the stores wherever they can."""

    async def get_order_intent(self, intent_id: str) -> OrderIntent:
        return (await self._record(intent_id)).intent

    async def get_order_state(self, intent_id: str) -> OrderState:
        return state_of(await self._record(intent_id))

    async def _record(self, intent_id: str) -> Record:
        self._running()
        record = await self._store.record(self.exchange_id, intent_id)
        if record is None:
            raise UnknownIntent(
                f"intent_id {ascii(intent_id)[1:-1][:80]}: account {self.exchange_id} has no such intent"
            )
        return record

    async def get_all_intents(self, *, symbol_id: str | None = None, active_only: bool = False) -> list[OrderIntent]:
        self._running()
        rows = await self._store.intents(self.exchange_id, symbol=symbol_id, active_only=active_only)
        return [intent for intent, _ in rows if not is_step(intent.intent_id)]

    async def get_all_orders(self, *, symbol_id: str | None = None) -> list[OrderState]:
        self._running()
        rows = await self._store.intents(self.exchange_id, symbol=symbol_id)
        if self._follow:
            await self._actual.fetch(self.exchange_id)
        ours = [light_state(intent, progress) for intent, progress in rows if not is_step(intent.intent_id)]
        foreign = [
            state
            for state in self._actual.all(self.exchange_id)
            if state.origin is not Origin.OURS and symbol_id in (None, state.symbol_id)
        ]
        return ours + foreign

    async def get_positions(self) -> list[Position]:
        self._running()
        rows = await self._store.positions(self.exchange_id)
        return [Position(row.account, row.symbol, row.amount, row.entry, row.realized) for row in rows]

    async def get_account_state(self) -> AccountState:
        session = self._running()
        if self._follow:
            await self._actual.fetch(self.exchange_id)
        snapshot = self._actual.get_account(self.exchange_id)
        if snapshot is None or (self._follow and self._shared is None):
            snapshot = await self._adapter.account()
            if not self._follow:
                self._actual.put_account(self.exchange_id, snapshot)
        if self._follow:
            row = await self._store.account_row(self.exchange_id)
            halted = None if row is None else row.halted
            session.halted = "" if halted is None else f"{halted['actor']}: {halted['reason']}"
        assets = tuple(Asset(b.asset, b.total, b.free, b.borrowed) for b in snapshot.balances)
        return AccountState(
            account=self.exchange_id,
            identity=session.opened.identity,
            mode=session.opened.mode,
            assets=assets,
            positions=tuple(await self.get_positions()),
            margin=dict(snapshot.margin),
            as_of=snapshot.at.venue_ms or snapshot.at.ledger_ms or 0,
            halted=session.halted or None,
            conditions=tuple(session.conditions.values()),
            rights=dict(session.opened.rights),
        )

    async def get_symbol_metadata(self, symbol_id: str) -> SymbolMetadata:
        return find_symbol(self._running(), symbol_id)

    async def get_asset_metadata(self, asset_id: str) -> AssetMetadata:
        session = self._running()
        known: dict[str, SymbolMetadata] = {}
        for market in session.markets.values():
            known.setdefault(market.base, market)
            known.setdefault(market.quote, market)
        if asset_id not in known:
            raise UnknownSymbol(
                "asset_id", asset_id, f"no market of {self.exchange_id} trades it", suggest(asset_id, known)
            )
        described = getattr(self._adapter, "assets", None)
        if described is not None:
            for asset in await described():
                if asset.asset_id == asset_id:
                    found: AssetMetadata = asset
                    return found
        return AssetMetadata(asset_id=asset_id, asset_type=AssetType.SPOT)
