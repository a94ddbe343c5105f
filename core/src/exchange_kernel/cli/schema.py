"""``exk schema``: the JSON Schema of order files, for editors."""

from __future__ import annotations

import click

from exchange_kernel.cli.output import as_json


@click.command("schema")
def command() -> None:
    """The JSON Schema of order files. Editors check and complete with it: put it beside your files, and write as their
    first line

        # yaml-language-server: $schema=exchange-kernel.schema.json
    """
    from exchange_kernel.manifests.json_schema import manifest_schema

    click.echo(as_json(manifest_schema()))
