"""Reading what a request asks: path and query parameters as typed values, or MalformedQuestion naming the parameter."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from ledger.errors import MalformedQuestion
from ledger.ledger import Ledger
from ledger.positions import Position
from ledger.times import asked_time
from projections.page_cursors import LIMIT_DEFAULT, LIMIT_MAX

Choice = TypeVar("Choice", bound=StrEnum)

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_LOST_PLUS_OF_A_ZONE = re.compile(r"(?<=[0-9]) (?=[0-9]{2}:[0-9]{2}\Z)", re.ASCII)


def path_text(request: Request, name: str) -> str:
    """A percent-decoded path parameter: `%2F` belongs to the id."""
    try:
        return unquote_to_bytes(request.path_params[name]).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedQuestion(f"{name} in the path is not UTF-8") from None


def query_text(request: Request, name: str) -> str | None:
    """A query parameter that may be absent; given twice, or with NUL, it makes no sense."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise MalformedQuestion(f"{name} was given {len(values)} times, expected once")
    if values and "\0" in values[0]:
        raise MalformedQuestion(f"{name} contains NUL")
    return values[0] if values else None


def expect_known(request: Request, known: Sequence[str]) -> None:
    """A parameter that nobody reads makes no sense, as whoever spells a filter wrongly would be shown everything; nor do odd bytes."""
    try:
        unquote_to_bytes(request.scope["query_string"]).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedQuestion("the query is not UTF-8") from None
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None:
        told = f"it takes {', '.join(known)}" if known else "it takes none"
        raise MalformedQuestion(f"{unknown[:40]!r} is not a parameter of this path: {told}")


def query_limit(request: Request, default: int = LIMIT_DEFAULT) -> int:
    """How many items a page may have: 1 to 1000."""
    text = query_text(request, "limit")
    if text is None:
        return default
    if _NUMBER.fullmatch(text) is None or not 1 <= int(text) <= LIMIT_MAX:
        raise MalformedQuestion(f"limit: expected a whole number from 1 to {LIMIT_MAX}, got {text[:20]!r}")
    return int(text)


def version_asked(text: str) -> int | None:
    """The version of an event within its message, or 0; None where the text cannot be one."""
    return int(text) if _NUMBER.fullmatch(text) else None


def query_choice(request: Request, name: str, choices: type[Choice]) -> Choice | None:
    """A query parameter that is one of a few words."""
    text = query_text(request, name)
    if text is None:
        return None
    try:
        return choices(text)
    except ValueError:
        raise MalformedQuestion(f"{name}: expected one of {', '.join(choices)}, got {text[:40]!r}") from None


def query_time(request: Request, name: str) -> int | None:
    """A query parameter that is a time, as microseconds since 1970."""
    text = query_text(request, name)
    return None if text is None else time_asked(name, text)


def time_asked(name: str, text: str, otherwise: str = "") -> int:
    """Microseconds since 1970 of a time as people ask with it: a "+" that nobody escaped arrives as a space."""
    return asked_time(name, _LOST_PLUS_OF_A_ZONE.sub("+", text), otherwise)


def query_phone(request: Request, name: str) -> str | None:
    """A query parameter that is a phone number. No number begins with a space: it was a "+" that nobody escaped."""
    text = query_text(request, name)
    return f"+{text[1:]}" if text is not None and text.startswith(" ") else text


def query_position(request: Request, name: str, ledger: Ledger) -> Position | None:
    """A query parameter that is a position of this ledger."""
    text = query_text(request, name)
    return None if text is None else position_asked(text, name, ledger)


def position_asked(text: str, name: str, ledger: Ledger) -> Position:
    """A position of this ledger; MalformedQuestion names the parameter."""
    try:
        return ledger.position(text)
    except MalformedQuestion as error:
        raise MalformedQuestion(f"{name}: {error}") from None
