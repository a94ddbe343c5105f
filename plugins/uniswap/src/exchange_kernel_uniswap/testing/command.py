"""``exk uniswap chain``: the test chain from the shell."""

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


@click.group("uniswap")
def command() -> None:
    """What the Uniswap plugin brings besides its venue."""


@command.command("chain")
@click.option("--block-time", type=click.IntRange(1, 60), default=1, show_default=True, help="Seconds between blocks.")
@click.option("--lose-requests", type=click.IntRange(0), default=0, help="So many broadcasts never reach the node.")
@click.option(
    "--lose-answers", type=click.IntRange(0), default=0, help="Of so many broadcasts nobody hears the answer."
)
@click.option("--fail-reads", type=click.IntRange(0), default=0, help="So many other requests are answered with a 502.")
def chain(block_time: int, lose_requests: int, lose_answers: int, fail_reads: int) -> None:
    """A chain on the loopback interface with all of Uniswap at mainnet's addresses, until interrupted.

    The first line on stdout is JSON: `url` of the node through the faults, `node_url` of the node itself, the `address`
    and the `key` of an account with money, the `tokens`, and whether it continues another chain (`forked`). At its end
    a second line counts the faults that happened. With EXK_FORK_URL it continues that node's chain. What it fetches the
    first time (a node of some 40 MB, contracts of 105 MB) is kept in the user's cache folder.
    """
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
