"""The program `ledger`: the table of its commands."""

from collections.abc import Callable
from typing import Annotated

import typer

from api.command_line.backup import backup
from api.command_line.conversation import conversation
from api.command_line.demo import demo
from api.command_line.explain import explain
from api.command_line.history import history
from api.command_line.messages import conversations, messages
from api.command_line.project import project
from api.command_line.projections import projections
from api.command_line.quarantine import quarantine
from api.command_line.rebuild import rebuild
from api.command_line.restore import restore
from api.command_line.serve import serve
from api.command_line.simulate import simulate
from api.command_line.status import status
from api.command_line.stuck import stuck
from api.command_line.tail import tail
from api.command_line.upgrade import upgrade
from api.command_line.verify import verify
from api.program_version import program_version

PANELS: dict[str, tuple[Callable[..., None] | typer.Typer, ...]] = {
    "Try it": (demo, simulate),
    "Run it": (serve, project, upgrade),
    "Ask it": (status, explain, stuck, history, conversation, messages, conversations, tail),
    "Keep it well": (projections, rebuild, verify, backup, restore, quarantine),
}
"""In the order in which `ledger --help` shows them."""


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(program_version())
        raise typer.Exit


def program() -> typer.Typer:
    """The program, ready to be called."""
    app = typer.Typer(
        name="ledger",
        help="An append-only ledger of Red Cloud's webhooks: receives, keeps, and tells what became of any message.",
        epilog="Settings: LEDGER_DATABASE_URL and others, in the environment or in the file that LEDGER_ENV_FILE names.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for panel, commands in PANELS.items():
        for command in commands:
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
    return [
        each.info.name or "" if isinstance(each, typer.Typer) else each.__name__
        for group in PANELS.values()
        for each in group
    ]
