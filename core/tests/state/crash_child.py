"""A process that writes through the store and tells what was answered, to be killed. Run as a module.

For each line on its input it forks a child that trades until it is killed; the child's lines are ``c``, ``s`` or ``b``
(created, submitted, booked) with a name, each written after the store had answered. ``pid`` and ``end`` frame a child.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count

from core.tests.state.build import ACCOUNT, book, create, read, start, submit
from exchange_kernel.state import SqlIntentStore


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def trade(url: str, run: str) -> None:
    store = SqlIntentStore(url)
    suspicion = await store.open()
    if suspicion is not None:
        say(f"suspicion {suspicion.cause}")
    epoch = await start(store)
    numbers = count()

    async def client() -> None:
        for n in numbers:
            name = f"{run}-{n}"
            await store.execute(create(name))
            say(f"c {name}")
            await store.execute(submit(await read(store, name), epoch))
            say(f"s {name}")
            await store.execute(book(await read(store, name), epoch, f"fill {name}"))
            say(f"b {name}")

    await asyncio.gather(*(client() for _ in range(24)))


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(trade(sys.argv[1], line.strip()))
            os._exit(0)
        say(f"pid {pid}")
        os.waitpid(pid, 0)
        say("end")


if __name__ == "__main__":
    assert ACCOUNT
    main()
