"""What scope `masked` sees: phone numbers cut to the last four digits, and no text that a person wrote."""

import re

DIGITS_SHOWN = 4
DIGITS_OF_A_PHONE_MIN = 7
WITHHELD_MEMBERS = frozenset({"body", "text", "content", "media"})

# Seven digits or more in a row, however they are set apart, read as a phone number: by white space of any kind, by hyphens,
# dashes and the minus sign of Unicode, or by what cannot be seen.
_SET_APART = r"[\s().\-/_\u00ad\u00b7\u200b-\u2015\u2060\u2212\ufe58\ufe63\ufeff\uff0d]"
# A date or a time, Unix time in ms or µs (the years 2008 to 2039), and a UUID with a letter in it are no phone numbers.
_NO_NUMBER = rf"""
    (?<![\d+]) 20[0-9]{{2}}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])
        (?:[Tt\ ][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]{{1,9}})?)?(?:[Zz]|[+-][0-9]{{2}}:?[0-9]{{2}})?)?
        (?!{_SET_APART}{{0,4}}\d)
  | (?<![\d+]) (?:1[2-9]|2[01])[0-9]{{11}}(?:[0-9]{{3}})? (?!{_SET_APART}{{0,4}}\d)
  | (?<![0-9A-Za-z]) (?=[0-9-]*[A-Fa-f]) [0-9A-Fa-f]{{8}}(?:-[0-9A-Fa-f]{{4}}){{3}}-[0-9A-Fa-f]{{12}} (?![0-9A-Za-z])
"""
_NUMBER_IN_TEXT = re.compile(rf"(?P<kept>{_NO_NUMBER}) | \+?\d(?:{_SET_APART}{{0,4}}\d){{6,}}", re.VERBOSE)
_UNIX_TIMES = ((1.2e9, 2.2e9), (1.2e12, 2.2e12), (1.2e15, 2.2e15))


def mask_phone(phone: str) -> str:
    """A phone number, or whatever stands in its place, cut to its last four digits."""
    digits = [character for character in phone if character.isdecimal()]
    return "".join(digits[-DIGITS_SHOWN:])


def mask_numbers(text: str) -> str:
    """Text in which everything that reads as a phone number is cut to its last four digits, as in `…4567`."""
    return _NUMBER_IN_TEXT.sub(lambda found: found["kept"] or f"…{mask_phone(found[0])}", text)


def mask_value(value: object) -> object:
    """Any JSON value with its phone numbers cut and members that hold what a person wrote withheld (null)."""
    match value:
        case str():
            return mask_numbers(value)
        case bool() | None:
            return value
        case int() | float() if _is_phone(value):
            return f"…{mask_phone(str(value))}"
        case list():
            return [mask_value(item) for item in value]
        case dict():
            return {
                mask_numbers(name): None if name.lower() in WITHHELD_MEMBERS else mask_value(member)
                for name, member in value.items()
            }
        case _:
            return value


def _is_phone(number: float) -> bool:
    is_time = any(first <= number < end for first, end in _UNIX_TIMES)
    return not is_time and sum(map(str.isdigit, str(number))) >= DIGITS_OF_A_PHONE_MIN
