"""The program `ledger`: the table of its commands.

A command's file is imported only where it is called or listed, so that `ledger status` does not wait for the server's imports.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Annotated

import typer

from api.program_version import program_version

PANELS: Mapping[str, Mapping[str, str]] = {
    "Try it": {"demo": "demo", "simulate": "simulate"},
    "Run it": {"serve": "serve", "project": "project", "upgrade": "upgrade", "key": "key"},
    "Ask it": {
        "status": "status",
        "explain": "explain",
        "stuck": "stuck",
        "history": "history",
        "conversation": "conversation",
        "messages": "messages",
        "conversations": "messages",
        "tail": "tail",
    },
    "Keep it well": {
        "projections": "projections",
        "rebuild": "rebuild",
        "verify": "verify",
        "backup": "backup",
        "restore": "restore",
        "quarantine": "quarantine",
        "audit": "audit",
    },
}
"""Which file has which command, in the order in which `ledger --help` shows them."""


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(program_version())
        raise typer.Exit


def program(called: str | None = None) -> typer.Typer:
    """The program, ready to be called; with the command that is called alone where there is one of that name."""
    app = typer.Typer(
        name="ledger",
        help="An append-only ledger of Red Cloud's webhooks: receives, keeps, and tells what became of any message.",
        epilog="Settings: LEDGER_DATABASE_URL and others, in the environment or in the file that LEDGER_ENV_FILE names.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, panel, file in _table():
        if called in (name, None) or called not in commands():
            command: Callable[..., None] | typer.Typer = getattr(import_module(f"api.command_line.{file}"), name)
            if isinstance(command, typer.Typer):
                app.add_typer(command, rich_help_panel=panel)
            else:
                app.command(rich_help_panel=panel)(command)
    return app


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What can be given before a command."""


def commands() -> list[str]:
    """The names of all commands."""
    return [name for name, _, _ in _table()]


def _table() -> Iterator[tuple[str, str, str]]:
    """(name, panel, file) of each command."""
    for panel, files in PANELS.items():
        yield from ((name, panel, file) for name, file in files.items())
