"""``exk uniswap …``: the test chain from the shell."""

from __future__ import annotations

import click


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
    # Imported when it runs: `--help` needs none of it.
    from exchange_kernel_uniswap.testing.serving import serve

    serve(block_time, lose_requests, lose_answers, fail_reads)
