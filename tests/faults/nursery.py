"""The process whose forks are the servers: a line of JSON in, with an environment and a log file; the fork's pid out.

It imports the program before the first fork and starts no thread. Its children are nobody's zombies.
"""

import json
import os
import signal
import sys
from typing import NoReturn

from api.command_line import main


def fork_servers() -> None:
    """Forks a server for each line, until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become_a_server(order["environment"], order["log"])
        print(pid, flush=True)  # noqa: T201 - its answer


def _become_a_server(environment: dict[str, str], log: str) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for ours, theirs in ((nothing, 0), (nothing, 1), (output, 2)):
        os.dup2(ours, theirs)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["ledger", "serve"]
    status: object = 1
    try:
        main()
    except SystemExit as end:
        status = end.code or 0
    sys.stderr.write(f"\nledger: exit {status}\n")
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    fork_servers()
