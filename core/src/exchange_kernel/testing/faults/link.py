"""One TCP connection: bytes in, bytes out, and three ways to end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final

from exchange_kernel.testing.faults.handles import Ending

CHUNK: Final = 65_536
_EARLY_LIMIT: Final = 1_048_576
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


class Link:
    """A connection to the client or to the upstream. ``ConnectionError`` and other ``OSError`` come as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._early = bytearray()
        self._finished = False

    @property
    def closing(self) -> bool:
        """Whether the other side has closed or reset its end, as far as is known without waiting."""
        return self._reader.at_eof() or self._reader.exception() is not None or self._writer.is_closing()

    @property
    def usable(self) -> bool:
        """Whether both ways are open, as far as is known without waiting."""
        return not self._finished and not self.closing

    async def read(self) -> bytes:
        """The next bytes; b"" when the other side has closed its end."""
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            return early
        return await self._reader.read(CHUNK)

    async def gone(self) -> None:
        """Wait until the other side closes or resets. What it sends until then is kept for ``read``."""
        with contextlib.suppress(OSError):
            while len(self._early) < _EARLY_LIMIT:
                data = await self._reader.read(CHUNK)
                if not data:
                    return
                self._early += data
            # So much that nobody asked for: it is left in the socket, and so is the end that may come after it.
            await asyncio.get_running_loop().create_future()

    def send(self, data: bytes) -> None:
        """Send when the socket takes it."""
        if data and not self._writer.is_closing():
            self._writer.write(data)

    async def drain(self) -> None:
        """Wait until most of what was sent has left.

        :raises ConnectionError: the other side is gone.
        """
        await self._writer.drain()

    def finish(self) -> None:
        """Send no more; what comes is still read. A TLS connection cannot be half closed and is closed."""
        if self._writer.is_closing():
            return
        self._finished = True
        if self._writer.can_write_eof():
            with contextlib.suppress(OSError):
                self._writer.write_eof()
        else:
            self._writer.close()

    async def end(self, ending: Ending) -> None:
        """End it: CLOSE sends what is unsent first, RESET does not, HANG waits until the other side gives up."""
        if ending is Ending.HANG:
            await self.gone()
        elif ending is Ending.RESET:
            raw = self._writer.get_extra_info("socket")
            if raw is not None and not self._writer.is_closing():
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self._writer.transport.abort()
        self._writer.close()
        await self._closed()

    async def drop(self) -> None:
        """Let go of it now, whatever is unsent."""
        self._writer.transport.abort()
        await self._closed()

    async def _closed(self) -> None:
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def stop(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait for their end; what one of them failed with is raised."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
