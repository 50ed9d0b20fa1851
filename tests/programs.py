"""Our program with something changed, for processes of their own (`tests/forks.py`, or `python -c`)."""

import resource
import sys

from api import service
from api.command_line import demo, main, serve
from api.serving import projector_process, server
from api.serving.bell import Bell
from ledger import commit_channel
from ledger.ledger import Ledger
from projections.runner import Runner

DEMO_MESSAGES = 60
FEW_OPEN_FILES = 64


def short_demo() -> None:
    """A demonstration with a fifth of the messages."""
    demo.MESSAGES = DEMO_MESSAGES
    main()


def main_with_little_patience() -> None:
    """A server that soon gives its workers up."""
    projector_process.ANSWERS_WITHIN_S = 0.2
    commit_channel.LOOK_EVERY_S = 0.02
    service.PROOF_S_MAX = 0.2
    server.DRAIN_S, server.WORKERS_END_WITHIN_S = 1, 1.0
    main()


def main_with_few_open_files() -> None:
    """A program that may have few, unless it asks for more."""
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_OPEN_FILES, allowed))
    main()


def main_with_a_runner_that_dies() -> None:
    """A server for which nobody projects."""

    def die(self: Runner) -> None:
        del self

    Runner._run = die  # type: ignore[method-assign]  # noqa: SLF001 - the thread itself is what dies
    main()


def main_with_a_thread_that_dies() -> None:
    """A server of a thread a partition, as on a distributed database, in whose writer that one dies that has committed something."""

    def die(self: Bell) -> None:
        raise MemoryError(self)

    Bell.ring = die  # type: ignore[method-assign]
    Ledger.writers = Ledger.partitions  # type: ignore[method-assign]
    main()


def main_that_cannot_say_that_it_listens() -> None:
    """A server that fails between its start and the word of it."""

    def fail(*_arguments: object) -> None:
        raise RuntimeError("nothing can be said")

    serve._announce = fail  # type: ignore[assignment]  # noqa: SLF001 - whatever it says may fail
    main()


def main_without_opentelemetry() -> None:
    """The program where the extra `otel` is not installed."""
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]  # that is how Python is told that there is none
    main()
