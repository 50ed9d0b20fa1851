"""The command line: `ledger serve`, and what people ask of a ledger without HTTP. `main` is the console script.

Commands read the database directly, so they work beside a running server and without one. One file a command or group.
"""

import os
import signal
import sys

INTERRUPTED = 128 + signal.SIGINT
"""As shells say it of a program that SIGINT ended."""


def main() -> None:
    """Runs one command and exits: 0 fine, 1 something is wrong with or not in the data, 2 wrong usage or settings."""
    _open_what_is_closed()
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _open_what_is_closed() -> None:
    """Started without one of its streams (`2>&-`), a program would be given its number for the next file that it opens."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # has the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - as long as we run


def _say_that_it_begins(arguments: list[str]) -> None:
    """For the first thing that anybody runs: on a busy machine, loading a server and its client takes a while."""
    if arguments[:1] == ["demo"] and not {"-h", "--help"}.intersection(arguments):
        sys.stdout.write("Starting the demonstration …\n")
        sys.stdout.flush()


def _run() -> None:
    _say_that_it_begins(sys.argv[1:])
    # Imported here, because it takes a while, and a Ctrl-C meanwhile is no traceback either.
    from api.command_line import endings  # noqa: PLC0415
    from api.command_line.program import program  # noqa: PLC0415
    from api.logs import configure_logs  # noqa: PLC0415

    configure_logs("warning", as_json=False)
    try:
        with endings.damage_said_once():
            program(*sys.argv[1:2])(prog_name="ledger")
    except Exception as error:  # noqa: BLE001 - whatever it was, people get one line and a status
        sys.exit(endings.end_with(error))
