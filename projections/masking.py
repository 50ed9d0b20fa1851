"""What scope `masked` sees: phone numbers cut to the last four digits, and no text that a person wrote."""

import re

DIGITS_SHOWN = 4
WITHHELD = "withheld"

# Seven digits or more in a row, however they are set apart, read as a phone number.
_NUMBER_IN_TEXT = re.compile(r"\+?\d(?:[\s().\-/]{0,2}\d){6,}")


def mask_phone(phone: str | None) -> str | None:
    """A phone number, or whatever stands in its place, cut to its last four digits: `…4567`."""
    if phone is None:
        return None
    digits = [character for character in phone if character.isdecimal()]
    return "…" + "".join(digits[-DIGITS_SHOWN:])


def mask_numbers(text: str) -> str:
    """Text in which everything that reads as a phone number is cut to its last four digits."""
    return _NUMBER_IN_TEXT.sub(lambda found: mask_phone(found[0]) or "", text)
