"""Who may do what: API keys and their scopes. Every route's scope is checked here and nowhere else.

Keys are kept as SHA-256 and compared in constant time. Without any key the server answers loopback alone.
"""

import hashlib
import hmac
import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from starlette.requests import HTTPConnection

from api.attempts import FailedAttempts
from api.errors import Forbidden, TooManyFailures, Unauthenticated
from ledger.clock import now_us

KEY_NEEDED = "an API key is needed: Authorization: Bearer <key>"
KEY_UNKNOWN = "this API key is not one that is known here, or it has expired or was revoked"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Scope(StrEnum):
    """What a key allows. `admin` includes every scope; `write` and `read` do not include each other."""

    READ = "read"
    MASKED = "masked"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key by the name of its holder; `digest` is the SHA-256 of the key's text, `expires_at_us` the first moment without it.

    `is_short` where it was written out, and is short enough to be guessed.
    """

    name: str
    scopes: frozenset[Scope]
    digest: bytes = field(repr=False)
    expires_at_us: int | None = None
    is_short: bool = field(default=False, compare=False)

    def is_expired(self, now_us: int) -> bool:
        """Whether it opens nothing any more."""
        return self.expires_at_us is not None and now_us >= self.expires_at_us


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may. `digest` is that of the key that was shown; empty where none was needed."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes = field(default=b"", repr=False, compare=False)

    @property
    def is_masked(self) -> bool:
        """Whether phone numbers and bodies must be withheld from this caller."""
        return self.scopes.isdisjoint({Scope.READ, Scope.ADMIN})

    def may(self, scope: Scope) -> bool:
        """Whether the caller has a scope; what `read` may see, `masked` may see masked."""
        return (
            scope in self.scopes or Scope.ADMIN in self.scopes or (scope is Scope.MASKED and Scope.READ in self.scopes)
        )


LOCAL_CALLER = Caller("loopback", frozenset(Scope))


@dataclass(frozen=True, slots=True)
class Access:
    """The keys that are known here; none: everything works, from loopback alone. An expired one is as a wrong one."""

    keys: tuple[ApiKey, ...]
    failed_attempts: FailedAttempts = field(default_factory=FailedAttempts, compare=False, repr=False)
    now_us: Callable[[], int] = field(default=now_us, compare=False, repr=False)

    def caller(self, connection: HTTPConnection) -> Caller:
        """Who asks, by the bearer key; Unauthenticated where that is nobody."""
        if not self.keys:
            if not _is_loopback(connection):
                raise Unauthenticated("no API keys are set (LEDGER_API_KEYS), so only loopback is answered")
            return LOCAL_CALLER
        key = _bearer_key(connection)
        if key is None:
            raise Unauthenticated(KEY_NEEDED)
        return self.caller_with(key, _address_of(connection), time.monotonic())

    def caller_with(self, key: str, address: str, now_s: float) -> Caller:
        """The holder of a key, else Unauthenticated, or TooManyFailures for an address that goes on guessing.

        The key is looked at first, so nobody who shares an address with a guesser is ever locked out.
        """
        caller = self._holder(sha256_of(key))
        if caller is not None:
            return caller
        wait_s = self.failed_attempts.wait_s(address, now_s)
        raise TooManyFailures(math.ceil(wait_s)) if wait_s else Unauthenticated(KEY_UNKNOWN)

    def still(self, caller: Caller) -> Caller | None:
        """Who was let in earlier, with the scopes of now; None once the key is revoked, replaced or expired."""
        if not caller.digest:
            return None if self.keys else caller
        return self._holder(caller.digest)

    def _holder(self, digest: bytes) -> Caller | None:
        """The holder of a key. Every key is compared, so that the time taken tells nothing."""
        now_us = self.now_us()
        holders = [
            each for each in self.keys if hmac.compare_digest(each.digest, digest) and not each.is_expired(now_us)
        ]
        return Caller(holders[0].name, holders[0].scopes, digest) if holders else None


def expect_scope(caller: Caller, scope: Scope) -> None:
    """Forbidden for a caller who does not have a scope."""
    if not caller.may(scope):
        needed = "'read' (or 'masked')" if scope is Scope.MASKED else repr(scope.value)
        raise Forbidden(f"the key {caller.name!r} does not have the scope {needed}")


def sha256_of(key: str) -> bytes:
    """The digest under which a key is kept."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _bearer_key(connection: HTTPConnection) -> str | None:
    """The key as its holder wrote it; None where there is none, or more than one."""
    given = connection.headers.getlist("authorization")
    scheme, _, key = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not key.strip():
        return None
    # Header values are bytes; Starlette reads them as Latin-1, people write keys in UTF-8.
    return key.strip().encode("latin-1").decode("utf-8", "surrogateescape")


def _address_of(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


def _is_loopback(connection: HTTPConnection) -> bool:
    """By the peer's address, never by a header that it sends. A foreign Host or Origin is a page in somebody's browser."""
    hosts = connection.headers.getlist("host")
    origins = [origin.partition("://")[2] for origin in connection.headers.getlist("origin")]
    if len(hosts) != 1 or not all(_name_of(host) in LOOPBACK_NAMES for host in hosts + origins):
        return False
    return _is_loopback_address(_address_of(connection))


@lru_cache(maxsize=64)
def _is_loopback_address(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if port.isdigit() and name else host).lower()
