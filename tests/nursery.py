"""The process whose forks are the program: `python -m tests.nursery SOCKET` reads orders from a socket, until it is closed.

It imports everything before the first order, and starts no thread. An order is a line of its length, then JSON, and with it
come four file descriptors: input, output and errors of the fork, and where its process id is told, and later its exit status.
"""

import gc
import json
import os
import signal
import socket
import sys
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

from api.command_line.program import program

IMPORTED_LATE = ("ledger.store.migrating", "psycopg", "typer._adapters", "typer.rich_utils")
"""What the program imports only where it is needed, which in the forks it mostly is."""

DESCRIPTORS = 4


def main() -> None:
    """Forks for each order."""
    program()
    for name in IMPORTED_LATE:
        import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a fork is its watcher's child, and a watcher nobody's zombie
    orders = socket.socket(fileno=int(sys.argv[1]))
    while received := socket.recv_fds(orders, 8, DESCRIPTORS):
        head, descriptors, _, _ = received
        if not head:
            break
        order = json.loads(orders.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        if os.fork() == 0:
            orders.close()
            _watch(order, *descriptors)
            return
        for each in descriptors:
            os.close(each)


def _watch(order: dict[str, Any], standard_input: int, output: int, errors: int, told: int) -> None:
    """Forks the program, tells how it ends, and ends; in the fork, returns when the program does."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    pid = os.fork()
    standard = (standard_input, output, errors)
    if pid == 0:
        os.close(told)
        for ours, theirs in enumerate(standard):
            os.dup2(theirs, ours)
            os.close(theirs)
        _become(order)
        return
    for each in (0, 1, 2, *standard):
        os.close(each)
    os.write(told, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(order: dict[str, Any]) -> None:
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["ledger", *order["arguments"]]
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]  # it is no other than Python's own
    resolve_name(order["program"])()


if __name__ == "__main__":
    main()
