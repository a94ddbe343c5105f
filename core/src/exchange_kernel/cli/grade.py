"""``exk plugins grade``. It lives with the kit, and is named as text: nothing that runs orders imports test tools."""

from __future__ import annotations

from importlib import import_module

import click

command: click.Command = import_module("exchange_kernel.testing.conformance.command").grade
