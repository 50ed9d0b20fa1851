"""The commands in README.md and in the pages of `docs/`, taken word for word; only places and ports are the test's."""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


def block(page: str, marker: str) -> str:
    """The code in a page (named from the root of the repository) that follows `<!-- marker -->`."""
    found = re.search(rf"<!-- {marker} -->\n *```\w+\n(.*?)^ *```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None, f"{page} has no block {marker!r}"
    return textwrap.dedent(found[1])  # a block in a list stands further in


def replaced(text: str, pieces: Mapping[str, str]) -> str:
    """A text with each piece replaced; a piece that is not there would not be tested."""
    for piece, other in pieces.items():
        assert piece in text, f"{piece!r} is not in {text!r}"
        text = text.replace(piece, other)
    return text
