"""What the demo asks the venues themselves: plain HTTP and JSON, nothing of the kernel's or of any adapter's."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from itertools import count
from typing import Any, Final

PATIENCE_S: Final = 20.0
_ids = count(1)


async def get(url: str) -> Any:
    """The JSON at an address."""
    return await asyncio.to_thread(_open, urllib.request.Request(url))


async def post(url: str, **body: object) -> Any:
    """What is answered to a JSON object."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return await asyncio.to_thread(_open, request)


async def rpc(url: str, method: str, *params: object) -> Any:
    """A node's answer. Raises RuntimeError with what it said instead."""
    answer = await post(url, jsonrpc="2.0", id=next(_ids), method=method, params=list(params))
    if "error" in answer:
        raise RuntimeError(f"{method}: {answer['error']}")
    return answer["result"]


def _open(request: urllib.request.Request) -> Any:
    # The addresses are those of children of this process, on the loopback interface.
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.loads(answer.read())
