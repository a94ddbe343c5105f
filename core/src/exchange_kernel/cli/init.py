"""``exk init``: a configuration to begin from, with every setting explained."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import clean
from exchange_kernel.config import DEFAULT_PATH
from exchange_kernel.orders.names import check_id

SIMULATED: Final = "paper"

_HEAD: Final = """\
# Configuration of Exchange Kernel. `exk doctor` tells what is missing; `exk accounts test` what works of each account.
# `exk schema config` prints the JSON Schema of this file; editors check with it: save it beside this file, and write
# `# yaml-language-server: $schema=exk.config.schema.json` as the first line.
# Secrets never stand in here: only where they are. env:NAME (an environment variable), file:PATH (a file that nobody
# else may read: chmod 600), keyring:SERVICE/USER (the keyring of the operating system; needs the extra "keyring").

# Where orders, attempts and events are kept: SQLite for one machine, PostgreSQL for several.
store:
  url: sqlite:///exk.db
  # url: env:EXK_STORE          # an address with a password: postgresql+psycopg://user:password@host/database

# Where local files are kept: the journal of `exk panic`.
state_dir: .exk

# Only plugins of these distributions are loaded. Without it: all that are installed.
# plugins:
#   allow: [{distribution}]

# Where the events of every account are sent: plugins bring sinks (`exk plugins list`).
# sinks:
#   - {{use: acme-sink, config: {{topic: orders}}, secrets: {{token: "env:ACME_TOKEN"}}}}

accounts:
"""

_ACCOUNT: Final = """\
  {name}:
    # Venues that are installed: {venues}.
    venue: {venue}
{mode}
{config}
    # Hard limits, in the quote asset. A live account does not start without the first three.
    limits:
      max_order_notional: 10000     # one order
      max_open_notional: 50000      # everything that is open
      order_count: 20               # new orders ...
      order_period_ms: 1000         # ... in this time
      # symbols: [BTC/USD]          # only these; without it: every symbol

    # What is done when the venue differs for a reason that is not ours. foreign: REPORT or IGNORE orders of others.
    # ours: ACCEPT that an order of ours was cancelled from outside.
    drift: {{foreign: REPORT, ours: ACCEPT}}

    # Checks of your own that every order must pass: plugins bring them.
    # admission: [acme-risk]

    # The venue cancels the orders of each symbol where ours rest, unless it hears from the kernel: where it has that.
    # dead_man: {{after_s: 60, cancels_everything: false, at_stop: DISARM}}
"""

_SIMULATED_MODE: Final = """\
    # What the venue must say it is: paper, testnet, fork or live. Anything else keeps the account from starting.
    # observe: look at it and never send anything; credentials that may not trade are enough.
    mode: paper"""
_OBSERVED_MODE: Final = """\
    # observe: it is looked at, and nothing is ever sent. Credentials that may not trade are enough.
    # To trade: what the venue must say it is (paper, testnet, fork or live). Anything else keeps it from starting.
    mode: observe"""
_SIMULATED_CONFIG: Final = """\

    # Settings of the venue itself: its page tells which there are.
    config: {balances: {USD: 100000}}
"""
_CONFIG: Final = """\

    # Settings of the venue itself: its page tells which there are ({docs}).
    # config: {{}}

    # What it signs in with: names are the venue's own.
    # secrets: {{api_key: "env:{upper}_KEY", secret: "file:{name}.secret"}}
"""


@click.command("init")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default=DEFAULT_PATH)
@click.option("--venue", help="The venue of its first account; by default one that trades with paper money.")
@click.option("--account", "name", help="The name of its first account.")
@click.option("--force", is_flag=True, help="Replace the file, if there is one.")
def command(path: Path, venue: str | None, name: str | None, force: bool) -> None:
    """Write a configuration with comments to PATH.

    The account of a real venue begins with mode: observe, in which nothing is ever sent.
    """
    from exchange_kernel.errors import ConfigError

    if name is not None:
        check_id("account", name, ConfigError)
    text = _text(venue, name)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Failed(f"{clean(path)} exists: name another file, or replace it with --force", 2) from None
    except OSError as error:
        raise Failed(f"{clean(path)} cannot be written: {error.strerror}", 1) from None
    click.echo(f"wrote {clean(path)}")
    option = "" if path == Path(DEFAULT_PATH) else f" --config {clean(path)}"
    click.echo(f"\nNext:\n  exk doctor{option}\n  exk run{option}")


def _text(venue: str | None, name: str | None) -> str:
    from exchange_kernel.plugins import load

    plugins = load()
    venues = plugins.venues
    if venue is None:
        if not venues:
            raise Failed("no plugin with a venue is installed: exk plugins install exchange-kernel-paper", 2)
        venue = SIMULATED if SIMULATED in venues else min(venues)
    installed = plugins.venue(venue)
    simulated = installed.spec.kind == "sim"
    account = name or f"{venue.replace('-', '_')}_main"
    docs = installed.spec.docs_url or f"exk plugins list -o json, or the README of {installed.plugin.distribution}"
    config = _CONFIG.format(docs=docs, upper=account.upper().replace("-", "_"), name=account)
    return _HEAD.format(distribution=installed.plugin.distribution) + _ACCOUNT.format(
        name=account,
        venues=", ".join(sorted(venues)),
        venue=venue,
        mode=_SIMULATED_MODE if simulated else _OBSERVED_MODE,
        config=(_SIMULATED_CONFIG if venue == SIMULATED else config),
    )
