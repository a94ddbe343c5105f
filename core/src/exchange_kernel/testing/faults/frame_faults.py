"""What can go wrong with the frames of a WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Unpack

from exchange_kernel.testing.faults.handles import Ending, Fault, Hold, Script, seconds_of
from exchange_kernel.testing.faults.matching import FrameMatch, SeenFrame, frame_matcher
from exchange_kernel.testing.faults.records import Direction


@dataclass(frozen=True, slots=True)
class DelayFrame:
    """The frame, and all behind it in its direction, wait this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DropFrame:
    """The frame is not forwarded."""


@dataclass(frozen=True, slots=True)
class DuplicateFrame:
    """The frame is forwarded twice."""


@dataclass(frozen=True, slots=True)
class HoldFrame:
    """The frame waits until it is released; others overtake it."""


@dataclass(frozen=True, slots=True)
class ReorderFrames:
    """This many frames are forwarded in another order: backwards, or as ``rng`` has it."""

    count: int
    rng: Random | None


@dataclass(frozen=True, slots=True)
class ReplaceFrame:
    """The frame is forwarded with other data."""

    data: str | bytes | Callable[[str | bytes], str | bytes]


@dataclass(frozen=True, slots=True)
class AnswerFrame:
    """The frame is not forwarded; its sender gets this back."""

    data: str | bytes | Callable[[str | bytes], str | bytes]


@dataclass(frozen=True, slots=True)
class LateFrame:
    """The frame comes this many seconds later; others overtake it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Strand:
    """The client's connection ends now, and the frame reaches the upstream this many seconds later."""

    seconds: float
    ending: Ending


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends, with a close frame to both sides (``code``) or without."""

    code: int | None
    reason: str
    ending: Ending


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing is forwarded any more, either way, while the connection stays open."""


class FrameFaults:
    """The faults of WebSocket frames.

    Every method takes matchers (see ``FrameMatch``; none: every TEXT and BINARY frame, both ways), ``times`` (how many
    frames; None: until cleared) and ``skip`` (how many matching frames pass untouched first), and gives back the
    handle. A message sent in fragments counts as one frame. A frame meets at most one delay and one other fault, in
    the order in which they were asked for. Faults of requests are for the handshake.

    :raises TypeError: an unknown matcher.
    :raises ValueError: a number, direction or kind that makes no sense; the message says which are good.
    """

    def __init__(self) -> None:
        self._frames: Script[SeenFrame] = Script()

    def drop_frame(self, *, times: int | None = 1, skip: int = 0, **match: Unpack[FrameMatch]) -> Fault:
        """The frame is lost, and those behind it are not."""
        return self._ask_frame("drop_frame", DropFrame(), times, skip, match)

    def duplicate_frame(self, *, times: int | None = 1, skip: int = 0, **match: Unpack[FrameMatch]) -> Fault:
        """The frame arrives twice in a row."""
        return self._ask_frame("duplicate_frame", DuplicateFrame(), times, skip, match)

    def reorder_frames(
        self,
        count: int = 2,
        *,
        rng: Random | None = None,
        times: int | None = 1,
        skip: int = 0,
        **match: Unpack[FrameMatch],
    ) -> Fault:
        """Gather ``count`` matching frames of one connection and direction, then forward them backwards, or shuffled by
        ``rng``; others overtake them. ``times`` and ``hits`` count groups. A group that is not full when its connection
        ends is forwarded as it came."""
        if isinstance(count, bool) or not isinstance(count, int) or count < 2:
            raise ValueError(f"count {count!r}: it takes a whole number of frames, at least 2, to change their order")
        return self._ask_frame("reorder_frames", ReorderFrames(count, rng), times, skip, match)

    def delay_frame(
        self, seconds: float, *, times: int | None = 1, skip: int = 0, **match: Unpack[FrameMatch]
    ) -> Fault:
        """The frame and everything behind it in its direction come ``seconds`` later, as when a packet is lost."""
        return self._ask_frame("delay_frame", DelayFrame(seconds_of(seconds)), times, skip, match)

    def hold_frame(self, *, times: int | None = 1, skip: int = 0, **match: Unpack[FrameMatch]) -> Hold:
        """The frame waits until it is released, and others overtake it. It is lost when its connection ends first."""
        fault = Hold("hold_frame", HoldFrame(), frame_matcher(match), times, skip)
        self._frames.add(fault)
        return fault

    def replace_frame(
        self,
        replacement: str | bytes | Callable[[str | bytes], str | bytes],
        *,
        times: int | None = 1,
        skip: int = 0,
        **match: Unpack[FrameMatch],
    ) -> Fault:
        """The frame arrives with other data: this, or what the function makes of its own."""
        return self._ask_frame("replace_frame", ReplaceFrame(replacement), times, skip, match)

    def answer_frame(
        self,
        answer: str | bytes | Callable[[str | bytes], str | bytes],
        *,
        times: int | None = 1,
        skip: int = 0,
        **match: Unpack[FrameMatch],
    ) -> Fault:
        """The frame is not forwarded, and its sender gets this back, or what the function makes of its data: a refusal
        by somebody on the way."""
        return self._ask_frame("answer_frame", AnswerFrame(answer), times, skip, match)

    def late_frame(self, seconds: float, *, times: int | None = 1, skip: int = 0, **match: Unpack[FrameMatch]) -> Fault:
        """The frame alone comes ``seconds`` later, and others overtake it. Lost when its connection ends first."""
        return self._ask_frame("late_frame", LateFrame(seconds_of(seconds)), times, skip, match)

    def strand_frame(
        self,
        seconds: float,
        *,
        ending: Ending = Ending.RESET,
        times: int | None = 1,
        skip: int = 0,
        **match: Unpack[FrameMatch],
    ) -> Fault:
        """The late arrival: the client's connection ends at once, and ``seconds`` later the frame reaches the upstream,
        over a connection on which nobody hears the answer. For frames on their way there."""
        action = Strand(seconds_of(seconds), Ending(ending))
        if action.ending is Ending.HANG:
            raise ValueError("ending HANG: a client that is to wait needs late_frame")
        return self._ask_frame("strand_frame", action, times, skip, {**match, "direction": Direction.TO_UPSTREAM})

    def cut(
        self,
        code: int | None = None,
        reason: str = "",
        *,
        ending: Ending = Ending.RESET,
        times: int | None = 1,
        skip: int = 0,
        **match: Unpack[FrameMatch],
    ) -> Fault:
        """The frame's connection ends instead of forwarding it: with a close frame to both sides when there is a
        ``code`` (1000 to 4999), else without one, closed or reset."""
        return self._ask_frame("cut", cut_of(code, reason, ending), times, skip, match)

    def silence(self, *, times: int | None = 1, skip: int = 0, **match: Unpack[FrameMatch]) -> Fault:
        """From this frame on its connection is silent: it stays open, nothing is forwarded either way, pings are not
        answered, and the end of the upstream's connection is not told. It never speaks again; a new one does."""
        return self._ask_frame("silence", Silence(), times, skip, match)

    def _ask_frame(self, name: str, action: object, times: int | None, skip: int, match: FrameMatch) -> Fault:
        fault = Fault(name, action, frame_matcher(match), times, skip)
        self._frames.add(fault)
        return fault


# Codes that only say how a connection ended, and are never sent: RFC 6455 §7.4.1.
_NEVER_SENT = frozenset({1004, 1005, 1006, 1015})


def cut_of(code: int | None, reason: str, ending: Ending) -> Cut:
    """How to cut a connection.

    :raises ValueError: a code that cannot be sent, a reason without a code or of more than 123 bytes, or an ending that
        is none.
    """
    if code is not None and (not isinstance(code, int) or not 1000 <= code <= 4999 or code in _NEVER_SENT):
        raise ValueError(
            f"code {code!r}: a close frame carries 1000 to 4999 except {sorted(_NEVER_SENT)}; None sends none"
        )
    if reason and (code is None or len(reason.encode()) > 123):
        raise ValueError(
            f"reason {reason!r}: it goes with a code, in at most 123 bytes; without a close frame there is none"
        )
    if Ending(ending) is Ending.HANG:
        raise ValueError("ending HANG: a connection that is cut ends; to leave it open, use silence")
    return Cut(code, reason, Ending(ending))


DELAYS = (DelayFrame,)
ACTIONS = (
    DropFrame,
    DuplicateFrame,
    HoldFrame,
    ReorderFrames,
    ReplaceFrame,
    AnswerFrame,
    LateFrame,
    Strand,
    Cut,
    Silence,
)
