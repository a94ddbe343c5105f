"""The test chain as tests use it: an upstream that is filled once, and a fork of it that they trade on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from exchange_kernel_evm.testing.chain import Chain
from exchange_kernel_evm.testing.errors import TestChainError
from exchange_kernel_evm.testing.node import AnvilNode

__all__ = ["FORK_URL_VARIABLE", "ForkedChain", "forked_chain"]

FORK_URL_VARIABLE: Final = "EXK_FORK_URL"
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class ForkedChain:
    """A running fork.

    :ivar node: the fork, where tests happen.
    :ivar upstream: what it forks, None when that is the chain of `$EXK_FORK_URL`.
    """

    node: AnvilNode
    upstream: AnvilNode | None

    @property
    def chain(self) -> Chain:
        """The controls of the fork."""
        return self.node.chain


def _filled(running: ExitStack, fill: Callable[[Chain], None] | None) -> AnvilNode:
    """An upstream. On a busy machine a node sometimes stands still for good: then another is tried."""
    for left in reversed(range(_TRIES)):
        with ExitStack() as tried:
            upstream = tried.enter_context(AnvilNode())
            try:
                if fill is not None:
                    fill(upstream.chain)
            except (TestChainError, OSError):
                if not left:
                    raise
                continue
            running.push(tried.pop_all())
            return upstream
    raise AssertionError("unreachable")


@contextmanager
def forked_chain(fill: Callable[[Chain], None] | None = None) -> Iterator[ForkedChain]:
    """Start an upstream, let `fill` deploy to it, and fork it; with `$EXK_FORK_URL` fork that and fill nothing."""
    with ExitStack() as running:
        url = os.environ.get(FORK_URL_VARIABLE)
        upstream: AnvilNode | None = None
        if not url:
            upstream = _filled(running, fill)
            url = upstream.url
        yield ForkedChain(running.enter_context(AnvilNode(fork_url=url)), upstream)
