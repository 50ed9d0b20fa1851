"""Times as whole microseconds since 1970 in UTC, and the two written forms that we read.

Pure: the clock is always an argument.
"""

import re
from datetime import UTC, datetime, timedelta

from ledger.errors import MalformedQuestion

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_ZONE = EPOCH.replace(tzinfo=None)
MICROSECOND = timedelta(microseconds=1)
TIME_US_MAX = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
UNIX_DIGITS_MAX = 13
MILLISECONDS_FROM_DIGITS = 12

_UNIX = re.compile(r"[0-9]{1,13}", re.ASCII)
_RFC_3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ]((?:[01]\d|2[0-3]):[0-5]\d:)(\d{2})(?:\.(\d{1,9}))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


def read_time(text: str) -> int | None:
    """Microseconds since 1970 of Unix seconds, Unix milliseconds (from 12 digits up) or RFC 3339 with a zone; else None."""
    return read_unix(text) if _UNIX.fullmatch(text) else read_rfc3339(text)


def read_unix(digits: str) -> int:
    """Microseconds since 1970 of at most 13 ASCII digits: seconds, or milliseconds from 12 digits up."""
    return int(digits) * (1_000 if len(digits) >= MILLISECONDS_FROM_DIGITS else 1_000_000)


def read_rfc3339(text: str) -> int | None:
    """Microseconds since 1970 of an RFC 3339 time with a zone, or None where the text is none."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    day, minutes, seconds, fraction, zone = match.groups()
    # RFC 3339 allows a leap second, Python does not: it is read as the second before.
    seconds = "59" if seconds == "60" else seconds
    microseconds = (fraction or "0")[:6].ljust(6, "0")
    zone = "+00:00" if zone in "Zz" else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{minutes}{seconds}.{microseconds}{zone}")
    except ValueError:
        return None
    return (moment - EPOCH) // MICROSECOND


def asked_time(name: str, text: str, otherwise: str = "") -> int:
    """Microseconds since 1970 of a time in a question; MalformedQuestion with what is wrong, and what could stand there `otherwise`."""
    time_us = read_rfc3339(text)
    if time_us is None:
        is_no_day = _RFC_3339.fullmatch(text) is not None
        why = (
            "there is no such day or time"
            if is_no_day
            else f"expected a time with its zone such as 2026-11-23T16:00:00Z{otherwise}"
        )
        raise MalformedQuestion(f"{name}: {why}, got {text[:40]!r}")
    return time_us


def write_time(time_us: int) -> str:
    """RFC 3339 in UTC with microseconds, e.g. `2026-11-23T16:00:00.000000Z`."""
    bounded = min(max(time_us, -62_135_596_800_000_000), TIME_US_MAX)
    # A time that has a zone is written a third slower, and a page has hundreds.
    return (_EPOCH_WITHOUT_ZONE + bounded * MICROSECOND).isoformat(timespec="microseconds") + "Z"
