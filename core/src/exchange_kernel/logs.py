"""Logs: one line each, in UTC, without control characters, as text or JSON, and with secrets taken out at the end.

What a line is about is said by its fields (``extra={"account": …, "intent": …}``), which the JSON form keeps apart and
the text form puts behind the message. Plugins log as they always do, and come out in the same form.
"""

from __future__ import annotations

import json
import logging
import re
import time
import unicodedata
from collections.abc import Sequence
from typing import Any, Final, TextIO

from exchange_kernel.events import Event

__all__ = ["FIELDS", "Lines", "log_to", "redacted", "tell_events"]

FIELDS: Final = ("account", "intent", "attempt", "key", "venue_ids")
"""What a line may be about."""

_events = logging.getLogger("exchange_kernel.log")

_SECRETS: Final = re.compile(
    r"""(?ix)
    (?P<token> exk_[0-9a-f]{12}_ ) [A-Za-z0-9_-]{16,}
    | (?P<scheme> \b(?:bearer|basic)\s+ ) [A-Za-z0-9._~+/=-]{8,}
    | (?P<name> \b[\w-]*(?:api[-_]?key|apikey|secret|passw(?:or)?d|passphrase|private[-_]?key|mnemonic|signature|token)
        ["']?\s*[=:]\s*["']? ) [^\s"'&,;)}\]]{4,}
    | (?P<user> ://[^\s/:@]*: ) [^\s/@]+ (?=@)
    """
)


def redacted(text: str) -> str:
    """The text without what looks like a credential: the last resort, behind never logging one."""
    return _SECRETS.sub(lambda found: next(filter(None, found.groups())) + "…", text)


class Lines(logging.Formatter):
    """One line per message; a bug's traceback follows it. ``as_json``: an object per line, its traceback a field."""

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self._json = as_json

    @staticmethod
    def converter(seconds: float | None = None) -> time.struct_time:
        return time.gmtime(seconds)

    def format(self, record: logging.LogRecord) -> str:
        about = {name: record.__dict__[name] for name in FIELDS if record.__dict__.get(name) not in (None, "", ())}
        if not self._json:
            lines = super().format(record).splitlines() or [""]
            lines[0] += "".join(f" {name}={_word(value)}" for name, value in about.items())
            return "\n".join(_clean(redacted(line)) for line in lines)
        moment = f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d}Z"
        out: dict[str, Any] = {"at": moment, "level": record.levelname.lower(), "logger": record.name}
        out["message"] = redacted(record.getMessage())
        out |= {name: redacted(_word(value)) for name, value in about.items()}
        if record.exc_info:
            out["traceback"] = redacted(self.formatException(record.exc_info))
        return json.dumps(out)


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _clean(line: str) -> str:
    if line.isascii() and line.isprintable():
        return line
    return "".join(
        c if c == " " or unicodedata.category(c)[0] in "LMNPS" else c.encode("unicode_escape", "surrogatepass").decode()
        for c in line
    )


def tell_events(events: Sequence[Event]) -> None:
    """A line for each event, for whoever logs everything: a listener of a store's commits."""
    for event in events:
        venue_id = getattr(event, "venue_id", "")
        extra = {
            "account": event.account,
            "intent": event.intent_id,
            "attempt": getattr(event, "attempt", None),
            "venue_ids": (venue_id,) if venue_id else (),
        }
        _events.debug("%s %d%s", event.kind, event.seq, f" ({event.reason})" if event.reason else "", extra=extra)


def log_to(stream: TextIO, level: str, *, as_json: bool = False) -> None:
    """Log everything of this level and above here, and nowhere else."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines(as_json=as_json))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
