"""The command line: `ledger serve`, and what people ask of a ledger without HTTP. `main` is the console script.

Commands read the database directly, so they work beside a running server and without one. One file a command or group.
"""

import sys

import typer

from api.command_line import endings
from api.command_line.demo import demo
from api.command_line.history import history
from api.command_line.quarantine import quarantine
from api.command_line.serve import serve
from api.command_line.simulate import simulate
from api.command_line.upgrade import upgrade
from api.command_line.verify import verify
from api.logs import configure_logs


def main() -> None:
    """Runs one command and exits: 0 fine, 1 something is wrong with or not in the data, 2 wrong usage or settings."""
    configure_logs("warning", as_json=False)
    try:
        _app()(prog_name="ledger")
    except Exception as error:  # noqa: BLE001 - whatever it was, people get one line and a status
        sys.exit(endings.end_with(error))


def _app() -> typer.Typer:
    app = typer.Typer(
        name="ledger",
        help="An append-only ledger of Red Cloud's webhooks: receives, keeps, and tells what became of any message.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in (demo, serve, simulate, history, verify, upgrade):
        app.command()(command)
    app.add_typer(quarantine)
    return app
