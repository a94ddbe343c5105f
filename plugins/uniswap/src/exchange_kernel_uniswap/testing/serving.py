"""The test chain as a process of its own: what ``exk uniswap chain`` runs."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import click

from exchange_kernel.clock import SystemClock
from exchange_kernel_evm.testing import TestChainError
from exchange_kernel_evm.testing.binary import find_anvil
from exchange_kernel_uniswap.testing.addresses import DECIMALS, TOKENS
from exchange_kernel_uniswap.testing.artifacts import artifacts
from exchange_kernel_uniswap.testing.stack import UniswapStack, uniswap_stack

_SEND = "eth_sendRawTransaction"


def serve(block_time: int, lose_requests: int, lose_answers: int, fail_reads: int) -> None:
    """Serve until SIGINT or SIGTERM; see ``exk uniswap chain --help``."""
    clock = SystemClock()
    began = clock.monotonic()

    def say(text: str) -> None:
        click.echo(f"{clock.monotonic() - began:5.1f}s  {text}", err=True)

    try:
        say("looking for Anvil; the first time it is fetched")
        find_anvil()
        say("looking for Uniswap's contracts; the first time they are fetched")
        artifacts()
        say("starting the chain")
        with uniswap_stack() as stack:
            say("the chain is there")
            asyncio.run(_serve(stack, block_time, lose_requests, lose_answers, fail_reads))
    except TestChainError as error:
        click.echo(str(error), err=True)
        sys.exit(1)


async def _serve(stack: UniswapStack, block_time: int, requests: int, answers: int, reads: int) -> None:
    from exchange_kernel.testing.faults import FaultProxy

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    stack.chain.rpc("evm_setTime", SystemClock().now_ms() // 1000)
    stack.chain.mine()
    stack.chain.automine(False)
    stack.chain.rpc("evm_setIntervalMining", block_time)
    async with FaultProxy(stack.node.url) as proxy:
        faults = {}
        if requests:
            faults["request_lost"] = proxy.drop_request(rpc=_SEND, times=requests)
        if answers:
            faults["answer_lost"] = proxy.drop_answer(rpc=_SEND, times=answers, skip=1)
        if reads:
            faults["read_failed"] = proxy.status(502, request_body=_reads, times=reads, skip=20)
        click.echo(json.dumps(_facts(stack, proxy.url)))
        await stopped.wait()
        click.echo(json.dumps({name: fault.hits for name, fault in faults.items()}))


def _reads(body: bytes) -> bool:
    return _SEND.encode() not in body


def _facts(stack: UniswapStack, url: str) -> dict[str, Any]:
    return {
        "url": url,
        "node_url": stack.node.url,
        "chain_id": stack.chain.chain_id,
        "forked": stack.upstream is None,
        "address": stack.trader.address,
        "key": "0x" + bytes(stack.trader.key).hex(),
        "tokens": {name: {"address": at, "decimals": DECIMALS[name]} for name, at in TOKENS.items()},
    }
