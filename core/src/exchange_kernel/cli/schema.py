"""``exk schema``: the JSON Schema of order files and of the configuration, for editors."""

from __future__ import annotations

import click

from exchange_kernel.cli.output import as_json


@click.command("schema")
@click.argument("what", type=click.Choice(["orders", "config"]), default="orders")
def command(what: str) -> None:
    """The JSON Schema of order files, or of the configuration. Editors check and complete with it: put it beside your
    files, and write as their first line

        # yaml-language-server: $schema=exchange-kernel.schema.json
    """
    if what == "config":
        from exchange_kernel.config.json_schema import config_schema

        click.echo(as_json(config_schema()))
        return
    from exchange_kernel.manifests.json_schema import manifest_schema

    click.echo(as_json(manifest_schema()))
