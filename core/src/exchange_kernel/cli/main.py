"""``exk``: the subcommands by name, and what an error becomes at the shell."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from exchange_kernel import __version__
from exchange_kernel.cli.exits import EXITS, Failed, code_of
from exchange_kernel.cli.output import clean
from exchange_kernel.errors import ExchangeKernelError

# Name to module and what it does: the list that `exk --help` prints without importing any of them.
COMMANDS: Final = {
    "demo": ("demo", "See it work: orders, faults, a kill -9, and the proof from the venue's own ledger."),
    "init": ("init", "Write a configuration with comments."),
    "doctor": ("doctor", "What is missing before everything works."),
    "accounts": ("accounts", "What is configured, what works of it, what is there."),
    "symbols": ("symbols", "What may be traded on an account, in which steps."),
    "run": ("run", "Run the kernels of the configured accounts until stopped."),
    "worker": ("worker", "Run a share of the accounts, beside other workers."),
    "api": ("api", "Serve the HTTP API beside kernels that run in other processes."),
    "token": ("token", "Look after tokens of the HTTP API."),
    "apply": ("apply", "Make the store say what order files say."),
    "diff": ("diff", "What applying order files would change."),
    "schema": ("schema", "The JSON Schema of order files and configuration."),
    "place": ("place", "Declare an order."),
    "modify": ("modify", "Change an order: a new total amount, or a new price."),
    "cancel": ("cancel", "Want orders gone."),
    "get": ("get", "List intents, orders, positions, accounts or events."),
    "describe": ("describe", "Everything known about one intent."),
    "history": ("history", "How an intent came to be what it is."),
    "why": ("why", "What keeps an intent where it is."),
    "wait": ("wait", "Wait until intents are what they should be."),
    "events": ("events", "Print the event log, and follow it."),
    "resolve": ("resolve", "Decide about an order that is parked or of unknown outcome."),
    "halt": ("halt", "Refuse and send no order, durably, until resumed."),
    "resume": ("resume", "Lift a halt."),
    "panic": ("panic", "Cancel everything at the venue now, even with the store and the kernel dead."),
    "verify": ("verify", "Check the event log's chain, and that it adds up to what is stored."),
    "db": ("db", "Look after the store's schema."),
    "explain": ("explain", "What a field of order files and configuration means."),
    "completion": ("completion", "The script that completes exk in your shell."),
    "plugins": ("plugins", "Look after plugins: list, install, examine them."),
    "new-plugin": ("new_plugin", "Write a new venue's plugin that works, to begin from."),
    "conformance": ("conformance", "Run the conformance cases against a venue."),
}


class Exk(click.Group):
    """A group whose commands are imported when they are used, and whose errors are one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return _brought(cmd_name)
        module = import_module(f"exchange_kernel.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # The names are known without importing a single command: the shell waits for this.
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and _brought(args[0]) is None:
            from exchange_kernel.schema.fields import close_to

            near = close_to(args[0], COMMANDS)
            hint = f"did you mean {near}?" if near else "see exk --help"
            raise click.UsageError(f"no command {clean(args[0])!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Failed as error:
            text, code = str(error), error.code
        except ExchangeKernelError as error:
            text, code = str(error), code_of(error)
        except Exception as error:
            if os.environ.get("EXK_TRACEBACK"):
                raise
            text, code = f"{type(error).__name__}: {error}; this is a bug: EXK_TRACEBACK=1 shows where", 1
        click.echo(f"exk: {clean(text)}", err=True)
        raise click.exceptions.Exit(code)


def _brought(name: str) -> click.Command | None:
    """A plugin's command. Plugins are loaded for this, which only a name that is no command of ours costs."""
    if not name[:1].isalpha():
        return None
    from exchange_kernel.cli.brought import find

    return find(name)


EPILOG = "Plugins add commands under their own names: exk plugins list.\n\n\b\nExit codes:\n" + "\n".join(
    f"  {code}  {meaning}" for code, meaning in EXITS.items()
)


@click.group(cls=Exk, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="exk")
def cli() -> None:
    """Declare orders; the kernel makes the exchange agree, at most once.

    Reads exk.yaml in this folder, or the file named by --config or EXK_CONFIG. Times are UTC.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    try:
        cli.main(None if arguments is None else list(arguments), prog_name="exk")
    except BrokenPipeError:
        # The reader has gone (`exk events | head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


if __name__ == "__main__":
    main()
