"""What commands share when they speak: data to stdout, everything else to stderr, and nobody's control characters to either."""

from rich.console import Console
from rich.text import Text

from api.visible import visible


def to_stderr() -> Console:
    """For progress, warnings and advice."""
    return Console(stderr=True, highlight=False, soft_wrap=False)


def to_stdout() -> Console:
    """For data: tables in a terminal, plain text in a pipe."""
    return Console(highlight=False, emoji=False, markup=False)


def said(text: object, style: str = "") -> Text:
    """Text of strangers, for a table: no markup in it counts, and no control character is obeyed."""
    return Text(visible(str(text)), style)
