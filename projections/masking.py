"""What a reader with the scope `masked` sees instead of personal data."""

DIGITS_SHOWN = 4


def mask_phone(text: str | None) -> str | None:
    """A phone number cut to its last four digits, e.g. `…4567`."""
    if text is None:
        return None
    digits = "".join(character for character in text if character.isdigit())
    return "…" + digits[-DIGITS_SHOWN:]
