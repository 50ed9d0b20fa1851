"""API keys as `LEDGER_API_KEYS` writes them, `name:scope+scope[@expiry]:key`; and the making of new ones.

Of a key only its SHA-256 is kept, and nothing here ever shows a part of an entry that may be one.
"""

import re
import secrets
from collections.abc import Iterable, Iterator

from api.access import ApiKey, Scope, sha256_of
from ledger.durations import DAY_US
from ledger.times import read_rfc3339, write_time

KEY_BYTES = 32
KEY_CHARACTERS_MIN = 20
KEY_PREFIX = "ledger_"
WARNED_BEFORE_US = 14 * DAY_US
RESERVED_NAMES = frozenset({"loopback", "nobody", "server"})
"""What the audit trail calls who has no key."""

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
# A time has colons of its own, so it is looked for before the rest is parted at them.
_ENTRY = re.compile(
    r"([^:]*):([^:@]*)(?:@([0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt][0-9:.]+(?:[Zz]|[+-][0-9]{2}:[0-9]{2}))?|[^:]*))?:(.+)"
)


def read_keys(text: str) -> tuple[ApiKey, ...]:
    """The keys of a setting; ValueError says which entry makes no sense, and why."""
    return tuple(_read_key(number, entry.strip()) for number, entry in enumerate(text.split(","), start=1) if text)


def new_key() -> str:
    """A fresh key."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def entry_of(name: str, scopes: Iterable[Scope], expiry: str | None, key: str) -> str:
    """The entry for a new key, with its SHA-256 in the key's place; ValueError where `read_keys` would not take it."""
    if NAME.fullmatch(name) is None:
        raise ValueError(f"the name {name[:80]!r} is not 1 to 64 letters, digits, '.', '_' and '-'")
    until = "" if expiry is None else f"@{expiry}"
    entry = f"{name}:{'+'.join(scopes)}{until}:sha256:{sha256_of(key).hex()}"
    read_keys(entry)
    return entry


def warnings_of(keys: Iterable[ApiKey], now_us: int) -> Iterator[str]:
    """A sentence for each key that is short, that has expired, or that will within fourteen days."""
    for key in keys:
        if key.is_short:
            yield (
                f"the API key {key.name!r} has fewer than {KEY_CHARACTERS_MIN} characters, so that it can be guessed;"
                " `ledger key` makes a better one"
            )
        if key.expires_at_us is None or key.expires_at_us > now_us + WARNED_BEFORE_US:
            continue
        when = write_time(key.expires_at_us)
        if key.is_expired(now_us):
            yield f"the API key {key.name!r} expired at {when} and opens nothing; remove its entry from LEDGER_API_KEYS"
        else:
            yield f"the API key {key.name!r} expires at {when}; give its holder a new one (docs/OPERATING.md)"


def _read_key(number: int, entry: str) -> ApiKey:
    found = _ENTRY.fullmatch(entry)
    if found is None or NAME.fullmatch(found[1]) is None:
        raise ValueError(f"entry {number} is not name:scope+scope:key")
    name, scopes_text, expiry, key = found.groups()
    if name in RESERVED_NAMES:
        raise ValueError(
            f"entry {number} is named {name!r}, which is what the audit trail calls somebody without a key"
        )
    scopes = scopes_text.split("+")
    if not set(scopes) <= set(Scope):  # not shown: where the order is wrong it is the key
        raise ValueError(
            f"entry {number} has an unknown scope, expected some of {', '.join(Scope)} with + between them"
        )
    return ApiKey(
        name,
        frozenset(Scope(scope) for scope in scopes),
        _digest(number, key),
        _expires_at_us(number, expiry),
        is_short=len(key) < KEY_CHARACTERS_MIN,
    )


def _digest(number: int, key: str) -> bytes:
    prefix, _, digits = key.partition(":")
    if prefix != "sha256":
        return sha256_of(key)
    if _SHA256.fullmatch(digits) is None:
        raise ValueError(f"entry {number} has a sha256: that is not 64 hexadecimal digits")
    return bytes.fromhex(digits)


def _expires_at_us(number: int, expiry: str | None) -> int | None:
    """The first moment at which a key is no longer valid; a date is valid to its end."""
    if expiry is None:
        return None
    is_date = _DATE.fullmatch(expiry) is not None
    time_us = read_rfc3339(f"{expiry}T00:00:00Z" if is_date else expiry)
    if time_us is None:
        raise ValueError(
            f"entry {number} has an expiry after its @ that is neither a date such as 2027-01-31 nor an RFC 3339 time"
        )
    return time_us + DAY_US if is_date else time_us
