"""Several nodes as one: failover, health, and no read from behind what was seen already.

A block number that is lower than one seen before comes from a node that lags, or lies. Such an answer is thrown away
and the next node asked, so that nothing is decided on a past that the account has moved on from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from exchange_kernel.errors import (
    ConfigError,
    NotAuthorized,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unavailable,
)
from exchange_kernel.value import Value
from exchange_kernel_evm.answers import Meaning, NodeError
from exchange_kernel_evm.endpoint import Answer, Endpoint, NoAnswer, NotReached, Request

__all__ = ["Block", "Health", "Rpc", "Sent"]

FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 250, 30_000
"""How long a node that failed is asked last: doubled with each failure in a row."""
FORGET_MS = 60_000
"""How long a highest block that no node shows any more is still believed in."""
MAX_BATCH = 100
KEPT_HEADERS = 128
LATEST: Request = ("eth_getBlockByNumber", ("latest", False))


class Block(Value, frozen=True):
    """A block's header. ``time`` in ms UTC, ``base_fee`` in wei."""

    number: int
    hash: str
    parent: str
    time: int
    base_fee: int
    gas_limit: int = 0

    @classmethod
    def of(cls, row: Any) -> Block:
        """From ``eth_getBlockBy…``. Raises Unavailable for what is no block."""
        try:
            return cls(
                int(row["number"], 16),
                row["hash"],
                row["parentHash"],
                int(row["timestamp"], 16) * 1000,
                int(row.get("baseFeePerGas") or "0x0", 16),
                int(row.get("gasLimit") or "0x0", 16),
            )
        except (KeyError, TypeError, ValueError):
            raise Unavailable("a node's answer is no block") from None


class Health(Value, frozen=True):
    """What is known of one node. ``lag``: blocks behind the highest seen when it last answered."""

    name: str
    up: bool
    failures: int
    head: int
    lag: int
    error: str


class Sent(Value, frozen=True):
    """What the node that was asked said of a transaction: taken, or known already."""

    known: bool
    endpoint: str


@dataclass(slots=True)
class _Node:
    endpoint: Endpoint
    checked: bool = False
    failures: int = 0
    not_before: int = 0
    head: int = 0
    error: str = ""


class _Overtaken(Unavailable):
    """A read was answered from a block that was the newest when it was asked, and is not any more."""


class Rpc:
    """Nodes of one chain. ``clock``: local ms UTC.

    ``reads`` are asked in their order, those that failed lately last. ``broadcasts`` (private relays; () = the same)
    get transactions, and nothing else but one question for their chain.
    """

    def __init__(
        self,
        chain_id: int,
        reads: Sequence[str],
        *,
        clock: Callable[[], int],
        broadcasts: Sequence[str] = (),
        timeout_s: float = 5.0,
    ) -> None:
        if not reads:
            raise ConfigError("rpc", "", "needs at least one address")
        self.chain_id = chain_id
        self.counts: Counter[str] = Counter()
        self._clock = clock
        made = {url: _Node(Endpoint(url, timeout_s=timeout_s, counts=self.counts)) for url in (*reads, *broadcasts)}
        self._nodes = list(made.values())
        self._reads = [made[url] for url in reads]
        self._broadcasts = [made[url] for url in broadcasts] or self._reads
        self._highest = self._highest_at = 0
        self.header: Block | None = None
        """The newest header that was read, of whichever node."""
        self.headers: dict[str, Block] = {}
        """Those that were read, by hash: the last few."""

    @property
    def highest(self) -> int:
        """The highest block any node has shown."""
        return self._highest

    def health(self) -> tuple[Health, ...]:
        """Of every node."""
        now = self._clock()
        return tuple(
            Health(n.endpoint.name, n.not_before <= now, n.failures, n.head, max(0, self._highest - n.head), n.error)
            for n in self._nodes
        )

    async def open(self) -> None:
        """Ask every node for its chain. Those that do not answer are asked before they are used.

        Raises ConfigError for a node of another chain, NotAuthorized, Unavailable when no node for reads answers.
        """
        problems = []
        for node in self._nodes:
            try:
                await self._check_chain(node)
            except (NoAnswer, NodeError) as error:
                self._failed(node, error)
                problems.append(error)
        if not any(node.checked for node in self._reads):
            denied = [e for e in problems if isinstance(e, NodeError) and e.meaning is Meaning.AUTH]
            if denied and len(denied) == len(problems):
                raise NotAuthorized("; ".join(map(str, problems)))
            raise Unavailable("; ".join(map(str, problems)))

    async def close(self) -> None:
        """Idempotent."""
        for node in self._nodes:
            await node.endpoint.close()

    # reads ------------------------------------------------------------------------------------------------------

    async def call(self, method: str, *params: Any) -> Any:
        """One read; its result. Raises NodeError where the node's answer is about the request itself, Unavailable."""
        (answer,) = (await self.read([(method, params)]))[1]
        if isinstance(answer, NodeError):
            raise answer
        return answer

    async def read(
        self, requests: Sequence[Request], shows: Callable[[Sequence[Answer]], Block] | None = None
    ) -> tuple[Block, list[Answer]]:
        """Reads answered by ONE node, and the newest block it had before it answered them. ``shows``: tells that block
        from the answers themselves, where they say it; else it is asked for.

        Raises Unavailable when no node answers, or none has got as far as the highest block seen; RateLimited when all
        refuse for their rate.
        """
        problems: list[Exception] = []
        limited: list[int] = []
        for node in self._order(self._reads):
            try:
                await self._check_chain(node)
                try:
                    head, answers = await self._ask(node, requests, shows)
                except _Overtaken:  # by an answer to a later question: it is no older than what was known then
                    head, answers = await self._ask(node, requests, shows)
            except (NoAnswer, NodeError, Unavailable) as error:
                until = self._failed(node, error)
                if isinstance(error, NodeError) and error.meaning is Meaning.RATE_LIMIT:
                    limited.append(until)
                problems.append(error)
                continue
            node.failures = node.not_before = 0
            node.error = ""
            return head, answers
        if limited and len(limited) == len(problems):
            raise RateLimited(min(limited), "rpc")
        raise Unavailable("; ".join(map(str, problems)))

    async def _ask(
        self, node: _Node, requests: Sequence[Request], shows: Callable[[Sequence[Answer]], Block] | None
    ) -> tuple[Block, list[Answer]]:
        answers: list[Answer] = []
        head: Block | None = None
        known = self._highest
        for start in range(0, max(1, len(requests)), MAX_BATCH):
            part = list(requests[start : start + MAX_BATCH])
            ask = head is None and shows is None
            reply = await node.endpoint.batch([LATEST, *part] if ask else part)
            if ask:
                newest = reply.pop(0)
                if isinstance(newest, NodeError):
                    raise newest
                head = self.header = Block.of(newest)
                self._ahead(node, head.number, known)
                self.remember(head)
            answers += reply
        for each in answers:
            if isinstance(each, NodeError) and each.meaning in (Meaning.RATE_LIMIT, Meaning.AUTH):
                raise each
        if shows is not None:
            head = shows(answers)
            self._ahead(node, head.number, known)
        assert head is not None
        return head, answers

    def remember(self, block: Block) -> None:
        """A header that was read."""
        if block.hash not in self.headers:
            self.headers[block.hash] = block
            if len(self.headers) > KEPT_HEADERS:
                del self.headers[next(iter(self.headers))]

    def _ahead(self, node: _Node, number: int, known: int) -> None:
        """``known``: the highest block seen when the question was asked. Raises Unavailable for a node that is behind
        it, _Overtaken for one that is not, where a higher one has been seen since."""
        now, node.head = self._clock(), number
        if number >= self._highest or now - self._highest_at > FORGET_MS:
            self._highest, self._highest_at = number, now
            return
        text = f"{node.endpoint.name}: shows block {number} as its newest, after {self._highest} was seen"
        raise (Unavailable if number < known else _Overtaken)(text)

    # changes ----------------------------------------------------------------------------------------------------

    async def send(self, raw: bytes) -> Sent:
        """Give a signed transaction to one node, once. A node that failed is not the first to be asked the next time.

        Raises NotSent when no byte left, Refused for a refusal the table knows, OutcomeUnknown for all else.
        """
        node = self._order(self._broadcasts)[0]
        name = node.endpoint.name
        try:
            await self._check_chain(node)
        except (NoAnswer, NodeError, ConfigError) as error:
            self._failed(node, error)
            raise NotSent(f"not sent to {name}: {error}") from None
        try:
            await node.endpoint.call("eth_sendRawTransaction", "0x" + raw.hex())
        except NotReached as error:
            self._failed(node, error)
            raise NotSent(str(error)) from None
        except NoAnswer as error:
            self._failed(node, error)
            raise OutcomeUnknown(str(error)) from None
        except NodeError as error:
            if error.meaning is Meaning.KNOWN:
                return Sent(True, name)
            if error.meaning in (Meaning.RATE_LIMIT, Meaning.AUTH, Meaning.UNKNOWN):
                self._failed(node, error)
            unknown = error.meaning in (Meaning.UNKNOWN, Meaning.NONCE_TOO_LOW)
            raise (OutcomeUnknown if unknown else Refused)(str(error), code=error.meaning.value) from None
        node.failures = node.not_before = 0
        return Sent(False, name)

    # nodes ------------------------------------------------------------------------------------------------------

    async def _check_chain(self, node: _Node) -> None:
        if node.checked:
            return
        answer = await node.endpoint.call("eth_chainId")
        try:
            chain = int(answer, 16)
        except (TypeError, ValueError):
            raise NoAnswer(f"{node.endpoint.name}: names no chain") from None
        if chain != self.chain_id:
            raise ConfigError("rpc", node.endpoint.name, f"is a node of chain {chain}, not of {self.chain_id}")
        node.checked = True

    def _order(self, nodes: Iterable[_Node]) -> list[_Node]:
        now = self._clock()
        return sorted(nodes, key=lambda node: (node.not_before > now, node.not_before if node.not_before > now else 0))

    def _failed(self, node: _Node, error: Exception) -> int:
        """Remember it; returns until when the node is asked last, local ms."""
        node.failures += 1
        node.error = str(error)
        pause = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << min(node.failures - 1, 10))
        if isinstance(error, NodeError) and error.retry_after:
            pause = int(error.retry_after * 1000)
        node.not_before = self._clock() + pause
        return node.not_before
