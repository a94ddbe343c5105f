"""The WebSocket API: requests in frames, sessions, and user data on the same connection (web-socket-api.md)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import WSMsgType, web

from exchange_kernel_binance.simulator.errors import ApiError
from exchange_kernel_binance.simulator.wire import parameters as p
from exchange_kernel_binance.simulator.wire.gate import Answer, Call, Endpoint, Gate, Sent
from exchange_kernel_binance.simulator.wire.keys import ApiKey
from exchange_kernel_binance.simulator.wire.outbox import Outbox
from exchange_kernel_binance.simulator.wire.user_streams import Subscription, UserStreams


def written(value: Any) -> str:
    """A parameter's value as it is signed: JSON without the quotes."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


class Session:
    """One connection: who logged on, and its subscriptions by id."""

    def __init__(self, outbox: Outbox, returns_limits: bool, now: int) -> None:
        self.outbox = outbox
        self.returns_limits = returns_limits
        self.connected_since = now
        self.authorized_since: int | None = None
        self.key: ApiKey | None = None
        self.subscriptions: dict[int, Subscription] = {}
        self.logon_subscription: int | None = None
        self.next_id = 0


class WsApi:
    """Serves one API's endpoints over WebSocket; `token_account` says whose a margin listen token is and until when."""

    def __init__(
        self,
        gate: Gate,
        streams: UserStreams,
        endpoints: Iterable[Endpoint],
        token_account: Callable[[str], tuple[str, int]] | None = None,
    ) -> None:
        self.gate = gate
        self.streams = streams
        self.sessions: set[Session] = set()
        self._token_account = token_account
        self._methods = {each.name: each for each in endpoints if each.websocket}
        self._methods |= {each.name: each for each in self._own()}

    def _own(self) -> list[Endpoint]:
        stream = "USER_STREAM"
        subscribing: dict[str, p.Kind] = {}
        return [
            Endpoint("session.logon", self._logon, None, stream, weight=2),
            Endpoint("session.status", self._status, weight=2),
            Endpoint("session.logout", self._logout, weight=2),
            Endpoint("session.subscriptions", self._list, weight=2),
            Endpoint("userDataStream.subscribe", self._subscribe, weight=2),
            Endpoint("userDataStream.subscribe.signature", self._signature, None, stream, subscribing, weight=2),
            Endpoint(
                "userDataStream.subscribe.listenToken",
                self._listen_token,
                None,
                "",
                {"listenToken": p.anything},
                ("listenToken",),
                2,
            ),
            Endpoint("userDataStream.unsubscribe", self._unsubscribe, None, "", {"subscriptionId": p.long}, weight=2),
        ]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, until it ends."""
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        outbox = Outbox(socket)
        session = Session(outbox, request.query.get("returnRateLimits", "true") != "false", self.gate.clock.now())
        self.sessions.add(session)
        address = request.headers.get("X-Forwarded-For") or request.remote or ""
        running: set[asyncio.Task[None]] = set()
        try:
            self.gate.limits.request(address, 2)
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                task = asyncio.ensure_future(self._frame(session, message.data, address))
                running.add(task)
                task.add_done_callback(running.discard)
        except ApiError:
            await socket.close()
        finally:
            self.sessions.discard(session)
            for subscription in session.subscriptions.values():
                self.streams.remove(subscription)
            await asyncio.gather(*running, return_exceptions=True)
            await outbox.close()
        return socket

    async def _frame(self, session: Session, text: str, address: str) -> None:
        try:
            frame = json.loads(text, parse_float=str)
            method = str(frame["method"]).removeprefix("v3/").removeprefix("v1/")
            params = dict(frame.get("params") or {})
        except (ValueError, KeyError, TypeError):
            session.outbox.put({"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"}})
            return
        identity = frame.get("id")
        endpoint = self._methods.get(method)
        if endpoint is None:
            answer = Answer(400, {"code": -1020, "msg": "This operation is not supported."})
            session.outbox.put({"id": identity, "status": 400, "error": answer.body})
            return
        pairs = [(name, written(value)) for name, value in params.items()]
        payload = "&".join(f"{name}={value}" for name, value in sorted(pairs) if name != "signature")
        sent = Sent(
            pairs,
            payload.encode(),
            dict(pairs).get("signature"),
            dict(pairs).get("apiKey"),
            address,
            session.key,
            session,
        )
        if method in ("session.logon", "userDataStream.subscribe.signature"):
            sent.session_key = None
        answer = await self.gate.handle(endpoint, sent)
        await self._reply(session, identity, answer, address, params)

    async def _reply(
        self, session: Session, identity: Any, answer: Answer, address: str, params: dict[str, Any]
    ) -> None:
        if answer.silent is not None:
            return
        if answer.drop:
            self._drop(session)
            return
        reply: dict[str, Any] = {"id": identity, "status": answer.status}
        if answer.status == 200 and not answer.cut and answer.text is None:
            reply["result"] = answer.body
        else:
            error = dict(answer.body) if isinstance(answer.body, dict) and answer.status != 200 else {}
            if answer.retry_after is not None:
                now = self.gate.clock.now()
                error["data"] = {"serverTime": now, "retryAfter": now + answer.retry_after * 1000}
            reply["error"] = error
        if params.get("returnRateLimits", session.returns_limits) is not False:
            reply["rateLimits"] = self.gate.limits.listed(address, answer.account)
        session.outbox.put(reply)

    def _drop(self, session: Session) -> None:
        session.outbox.end()

    def _state(self, session: Session) -> dict[str, Any]:
        return {
            "apiKey": session.key.key if session.key else None,
            "authorizedSince": session.authorized_since,
            "connectedSince": session.connected_since,
            "returnRateLimits": session.returns_limits,
            "serverTime": self.gate.clock.now(),
            "userDataStream": bool(session.subscriptions),
        }

    def _logon(self, call: Call) -> Any:
        session: Session = call.session
        key = self.gate.keys.known(call.key, "")
        if not key.is_ed25519:
            raise ApiError(-4056, "HMAC_SHA256 API key is not supported.")
        session.key, session.authorized_since = key, self.gate.clock.now()
        return self._state(session)

    def _status(self, call: Call) -> Any:
        return self._state(call.session)

    def _logout(self, call: Call) -> Any:
        session: Session = call.session
        session.key = session.authorized_since = None
        if session.logon_subscription is not None:
            self._end(session, session.logon_subscription)
            session.logon_subscription = None
        return self._state(session)

    def _list(self, call: Call) -> Any:
        return [{"subscriptionId": each} for each in call.session.subscriptions]

    def _subscribe(self, call: Call) -> Any:
        session: Session = call.session
        if session.key is None:
            raise ApiError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        reply = self._open(session, session.key.account)
        session.logon_subscription = reply["subscriptionId"]
        return reply

    def _signature(self, call: Call) -> Any:
        return self._open(call.session, call.account)

    def _listen_token(self, call: Call) -> Any:
        if self._token_account is None:
            raise ApiError(-1020, "This operation is not supported.")
        account, end = self._token_account(call.args["listenToken"])
        reply = self._open(call.session, account)
        left = max(0, end - self.gate.clock.now()) / 1000
        asyncio.get_running_loop().call_later(left, self._end, call.session, reply["subscriptionId"])
        return reply | {"expirationTime": end}

    def _open(self, session: Session, account: str) -> dict[str, Any]:
        if any(each.account == account for each in session.subscriptions.values()):
            raise ApiError(-2035, "User Data Stream subscription already active.")
        number = session.next_id
        session.next_id += 1
        session.subscriptions[number] = self.streams.add(
            Subscription(
                account,
                lambda event: session.outbox.put({"subscriptionId": number, "event": event}),
                session.outbox.end,
            )
        )
        return {"subscriptionId": number}

    def _unsubscribe(self, call: Call) -> Any:
        session: Session = call.session
        number = call.get("subscriptionId")
        if number is not None and number not in session.subscriptions:
            raise ApiError(-2036, "User Data Stream subscription not active.")
        for each in [number] if number is not None else list(session.subscriptions):
            self._end(session, each)
        return {}

    def _end(self, session: Session, number: int) -> None:
        """Tell eventStreamTerminated and send no more on the subscription."""
        subscription = session.subscriptions.pop(number, None)
        if subscription is not None:
            subscription.send({"e": "eventStreamTerminated", "E": self.gate.clock.now()})
            self.streams.remove(subscription)

    def terminate(self, account: str | None) -> int:
        """The exchange ends subscriptions, connections stay; how many there were."""
        ended = 0
        for session in self.sessions:
            for number, subscription in tuple(session.subscriptions.items()):
                if account is None or subscription.account == account:
                    self._end(session, number)
                    ended += 1
        return ended

    def announce_shutdown(self) -> int:
        """serverShutdown on every connection; how many there are."""
        for session in self.sessions:
            session.outbox.put({"event": {"e": "serverShutdown", "E": self.gate.clock.now()}})
        return len(self.sessions)
