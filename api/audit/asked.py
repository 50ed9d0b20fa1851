"""What was asked for, in short: what a filter was, never the number or the key that may stand in it. Pure.

Numbers are cut to their last four digits as for the scope `masked`, and texts to a length from which nobody completes a key.
"""

import re
from collections.abc import Mapping

from api.visible import visible
from ledger.times import read_rfc3339
from projections.masking import mask_numbers

TEXT_CHARACTERS_MAX = 24
SUBJECT_CHARACTERS_MAX = 512

_POSITION = re.compile(r"[0-9]{1,5}-[0-9]{1,19}", re.ASCII)


def asked_in_short(asked: Mapping[str, object]) -> dict[str, object]:
    """Parameters as an entry keeps them; what was not given is left out."""
    return {
        name: _in_short(value) if isinstance(value, str) else value
        for name, value in asked.items()
        if value is not None
    }


def subject_in_short(subject: str) -> str:
    """An id as an entry keeps it, and as it is looked for: whole, unless it is longer than an id of Red Cloud's."""
    text = visible(subject)
    return text if len(text) <= SUBJECT_CHARACTERS_MAX else f"{text[: SUBJECT_CHARACTERS_MAX - 1]}…"


def _in_short(text: str) -> str:
    if read_rfc3339(text.replace(" ", "+")) is not None or _POSITION.fullmatch(text):
        return text
    masked = visible(mask_numbers(text))
    return masked if len(masked) <= TEXT_CHARACTERS_MAX else f"{masked[: TEXT_CHARACTERS_MAX - 1]}…"
