"""Stretches of work that somebody may want to see in a trace. Who sees them is given from outside; by default nobody does.

This side knows no tracing library: it names a stretch, and tells figures of it until it ends.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Attributes = dict[str, str | int | float]
"""What is told of a stretch: never personal. It may be added to until the stretch ends."""

Spans = Callable[[str, Attributes], AbstractContextManager[None]]

_NOTHING = nullcontext()


def unseen(_name: str, _attributes: Attributes) -> AbstractContextManager[None]:
    """A stretch that nobody watches."""
    return _NOTHING
