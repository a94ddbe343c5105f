"""Keys that an adapter may mix up."""

from __future__ import annotations

import base64

from exchange_kernel.venue import Key


def alike(base: Key) -> list[Key]:
    """Keys that differ from ``base`` in as little as keys can: in each bit, in the case of letters, in their order.

    The first nine are those most easily mixed up."""
    number = int.from_bytes(base, "big")
    bits = (0, 127, 64, 63, 120, 7, 31, 96)
    flips = [number ^ (1 << bit) for bit in (*bits, *(each for each in range(128) if each not in bits))]
    flipped = [flip.to_bytes(16, "big") for flip in flips]
    folded = base64.b64decode(base64.b64encode(base[:15]).swapcase()) + base[15:]
    signs = [b"\xfb\xef\xbe" * 5 + base[:1], b"\xff\xff\xff" * 5 + base[:1]]  # "++++…" and "////…"
    return [*flipped[:8], folded, *flipped[8:], *signs, base[1:] + base[:1], bytes(reversed(base))]
