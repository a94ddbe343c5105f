"""``exk diff``: what applying order files would change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from exchange_kernel.cli.apply import FILES, read, refused
from exchange_kernel.cli.desk import account_option, config_option, desk, forms_option, run
from exchange_kernel.cli.output import clean, show

COLUMNS = ("action", "account", "name", "changes")


@click.command("diff")
@FILES
@config_option
@account_option
@forms_option
@run
async def command(files: tuple[str, ...], config_path: Path, account: str | None, form: str) -> None:
    """What applying order files would change, field by field. Exits 0 where nothing would, and 7 where something would.

    Writes nothing.
    """
    from exchange_kernel.cli import applying
    from exchange_kernel.manifests import ManifestError

    try:
        declared = read(files, account, config_path)
        async with desk(config_path) as at, applying.counters(at) as shops:
            found = await applying.ready(at, shops, declared)
    except ManifestError as error:
        raise refused(error, form) from None
    differs = [each for each in found if each.checked is not None]
    if form in ("table", "wide"):
        for each in differs:
            _tell(each)
    else:
        show([each.row() for each in differs], COLUMNS, form, "", name="name", kind="order")
    if differs:
        raise click.exceptions.Exit(7)


def _tell(ready: Any) -> None:
    each = ready.step.declared
    new = ready.step.seen is None
    click.echo(f"{'+' if new else '~'} {clean(each.account)} {clean(each.name)}")
    fields = each.order.to_dict() if new else {}
    for name, value in fields.items():
        click.echo(f"    + {name}: {clean(value)}")
    for name, (was, now) in ready.differs.items():
        for sign, value in (("-", was), ("+", now)):
            if value is not None:
                click.echo(f"    {sign} {name}: {clean(value)}")
