"""What goes wrong on purpose: rules that the next matching requests or frames meet."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

REQUEST_FAULTS = {
    "drop_before": "the connection ends without the request being executed",
    "drop_after": "the request is executed, and the connection ends without a reply",
    "silent_before": "nothing is executed, nothing is answered, the connection stays (for `ms`, then it ends)",
    "silent_after": "the request is executed, nothing is answered, the connection stays (for `ms`, then it ends)",
    "delay": "the request waits `ms` before it is executed; recvWindow is checked again then",
    "delay_reply": "the request is executed at once and answered after `ms`",
    "late": "answered at once with `status`/`code`/`msg` (-1007 unless given), executed after `ms`",
    "cut_body": "executed; the reply is 200 with half of its body",
    "empty_body": "executed; the reply is 200 without a body",
    "error_before": "not executed; answered with `status`/`code`/`msg`",
    "error_after": "executed; answered with `status`/`code`/`msg`",
    "cancel_fails": "cancelReplace: the cancel half is refused",
    "new_fails": "cancelReplace: the new order is refused after the cancel half succeeded",
}
STREAM_FAULTS = {
    "lose": "the event is not sent",
    "duplicate": "the event is sent twice",
    "reorder": "the event is sent after the next one",
    "delay": "the event is sent after `ms`",
    "disconnect": "the connection ends instead",
}


@dataclass(slots=True)
class Fault:
    """One rule. `where` is a pattern over endpoint names (`order.place`, `order.*`) or event types.

    It passes over the first `skip` matches and then strikes `times` times. `account` limits it to one account.
    """

    kind: str
    where: str = "*"
    times: int = 1
    skip: int = 0
    ms: int = 0
    status: int = 503
    code: int = -1007
    msg: str = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
    retry_after: int | None = None
    # Sent instead of the JSON of code and msg.
    body: str | None = None
    account: str | None = None
    struck: int = 0


class Faults:
    """The rules in force, for requests or for events."""

    def __init__(self, kinds: dict[str, str]) -> None:
        self._kinds = kinds
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """:raises ValueError: where the kind isn't one of these."""
        if fault.kind not in self._kinds:
            raise ValueError(f"fault kind {fault.kind!r} is not one of {', '.join(self._kinds)}")
        self._rules.append(fault)
        return fault

    def clear(self) -> None:
        self._rules.clear()

    def listed(self) -> list[dict[str, Any]]:
        return [asdict(rule) for rule in self._rules]

    def strike(self, name: str, account: str | None) -> Fault | None:
        """The rule that this request or event meets, if any; its count goes down."""
        for rule in self._rules:
            if rule.times <= 0 or not fnmatchcase(name, rule.where):
                continue
            if rule.account is not None and rule.account != account:
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            rule.times -= 1
            rule.struck += 1
            return rule
        return None


def fault_from(data: dict[str, Any]) -> Fault:
    """A rule from what the admin port was sent. :raises ValueError: on a name that no rule has."""
    known = {field.name for field in fields(Fault)} - {"struck"}
    if unknown := set(data) - known:
        raise ValueError(f"a fault has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    return Fault(**data)
