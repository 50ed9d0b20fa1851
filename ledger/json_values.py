"""Strict JSON at the edge: any bytes give a value or UnreadableBody, never an error from underneath.

Python's own scanner is used because it can be made to refuse what faster ones let pass: duplicate keys, NaN and Infinity.
"""

import json
import math
import re
from typing import NoReturn

from ledger.errors import UnreadableBody

JSON_LEVELS_MAX = 32

JSONObject = dict[str, object]

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_object(body: bytes) -> JSONObject:
    """The JSON object in a body, or UnreadableBody with the reason.

    Strict UTF-8, no byte order mark, no duplicate keys, no NaN or Infinity (nor a number that overflows to it), at most 32 levels.
    """
    try:
        value = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UnreadableBody(f"the body is not UTF-8: byte {error.start} cannot be decoded") from None
    except json.JSONDecodeError as error:
        what = error.msg.lower().removesuffix(" at")
        raise UnreadableBody(f"the body is not JSON: {what} at character {error.pos}") from None
    except RecursionError:
        raise UnreadableBody(f"the body is nested more than {JSON_LEVELS_MAX} levels deep") from None
    except ValueError:
        raise UnreadableBody("the body has a whole number of too many digits") from None
    if not isinstance(value, dict):
        raise UnreadableBody(f"the body is a JSON {_name(value)}, expected an object")
    if body.count(b"[") + body.count(b"{") > JSON_LEVELS_MAX and _levels_exceed(value, JSON_LEVELS_MAX):
        raise UnreadableBody(f"the body is nested more than {JSON_LEVELS_MAX} levels deep")
    return value


def canonical(value: object) -> bytes:
    """The one spelling of a JSON value: sorted members, no white space, ASCII. Two bodies with the same value spell the same."""
    return _ENCODER.encode(value).encode("ascii")


def legible(text: str) -> str:
    """Text that every database and encoder takes: NUL shown as U+2400, lone surrogates replaced by U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return _LONE_SURROGATE.sub("\ufffd", text).replace("\0", "\u2400")


def legible_value(value: object) -> object:
    """Any JSON value with all its text legible."""
    match value:
        case str():
            return legible(value)
        case list():
            return [legible_value(item) for item in value]
        case dict():
            return {legible(name): legible_value(member) for name, member in value.items()}
        case _:
            return value


def is_identifier(text: str) -> bool:
    """Whether the text has neither NUL nor lone surrogates, so that it can be a key everywhere."""
    return "\0" not in text and (text.isascii() or _LONE_SURROGATE.search(text) is None)


def _distinct(members: list[tuple[str, object]]) -> JSONObject:
    found = dict(members)
    if len(found) != len(members):
        raise UnreadableBody("an object in the body has the same key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise UnreadableBody(f"the body has {name}, which is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise UnreadableBody("the body has a number that is too large to hold")
    return number


def _levels_exceed(value: object, levels_max: int) -> bool:
    """Walks level by level, so that the depth of the input is never the depth of our stack."""
    level: list[object] = [value]
    for _ in range(levels_max):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)


def _children(value: object) -> list[object]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return []


def _name(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case _:
            return "array"


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_constant, parse_float=_finite)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
