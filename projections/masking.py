"""What scope `masked` sees: phone numbers cut to the last four digits, and no text that a person wrote."""

import re

DIGITS_SHOWN = 4
DIGITS_OF_A_PHONE_MIN = 7
WITHHELD_MEMBERS = frozenset({"body", "text", "content", "media"})

# Seven digits or more in a row, however they are set apart, read as a phone number: by white space of any kind, by hyphens,
# dashes and the minus sign of Unicode, or by what cannot be seen.
_SET_APART = r"[\s().\-/_\u00ad\u00b7\u200b-\u2015\u2060\u2212\ufe58\ufe63\ufeff\uff0d]"
_NUMBER_IN_TEXT = re.compile(rf"\+?\d(?:{_SET_APART}{{0,4}}\d){{6,}}")


def mask_phone(phone: str | None) -> str | None:
    """A phone number, or whatever stands in its place, cut to its last four digits."""
    if phone is None:
        return None
    digits = [character for character in phone if character.isdecimal()]
    return "".join(digits[-DIGITS_SHOWN:])


def mask_numbers(text: str) -> str:
    """Text in which everything that reads as a phone number is cut to its last four digits."""
    return _NUMBER_IN_TEXT.sub(lambda found: mask_phone(found[0]) or "", text)


def mask_value(value: object) -> object:
    """Any JSON value with its phone numbers cut and members that hold what a person wrote withheld (null)."""
    match value:
        case str():
            return mask_numbers(value)
        case bool() | None:
            return value
        case int() | float() if sum(map(str.isdigit, str(value))) >= DIGITS_OF_A_PHONE_MIN:
            return mask_phone(str(value))
        case list():
            return [mask_value(item) for item in value]
        case dict():
            return {
                mask_numbers(name): None if name.lower() in WITHHELD_MEMBERS else mask_value(member)
                for name, member in value.items()
            }
        case _:
            return value
