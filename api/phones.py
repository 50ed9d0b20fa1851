"""A telephone number as people type it."""

import re

# A number that was copied from a page has spaces and dashes of its own.
_BETWEEN = r"\s().\-/\u2010-\u2015"
_PHONE = re.compile(rf"\+?\(?[0-9][0-9{_BETWEEN}]{{2,30}}")
_SET_APART = re.compile(f"[{_BETWEEN}]")


def phone_in(text: str) -> str | None:
    """The telephone number that a person typed, as the provider writes it (E.164); None where it is something else."""
    if _PHONE.fullmatch(text) is None:
        return None
    digits = _SET_APART.sub("", text)
    return digits if digits.startswith("+") else f"+{digits}"
