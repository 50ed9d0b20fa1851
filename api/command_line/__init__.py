"""The command line: `ledger serve`, and what people ask of a ledger without HTTP. `main` is the console script.

Commands read the database directly, so they work beside a running server and without one. One file a command or group.
"""

import signal
import sys

INTERRUPTED = 128 + signal.SIGINT
"""As shells say it of a program that SIGINT ended."""


def main() -> None:
    """Runs one command and exits: 0 fine, 1 something is wrong with or not in the data, 2 wrong usage or settings."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run() -> None:
    # Imported here, because it takes a while, and a Ctrl-C meanwhile is no traceback either.
    from api.command_line import endings  # noqa: PLC0415
    from api.command_line.program import program  # noqa: PLC0415
    from api.logs import configure_logs  # noqa: PLC0415

    configure_logs("warning", as_json=False)
    try:
        program(*sys.argv[1:2])(prog_name="ledger")
    except Exception as error:  # noqa: BLE001 - whatever it was, people get one line and a status
        sys.exit(endings.end_with(error))
