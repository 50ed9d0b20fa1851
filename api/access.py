"""Who may do what: API keys and their scopes. Every route's scope is checked here and nowhere else.

Keys are kept as SHA-256 and compared in constant time. Without any key the server answers loopback alone.
"""

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum

from starlette.requests import HTTPConnection

from ledger.errors import LedgerError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Scope(StrEnum):
    """What a key allows. `admin` includes every scope; `write` and `read` do not include each other."""

    READ = "read"
    MASKED = "masked"
    WRITE = "write"
    ADMIN = "admin"


class Unauthenticated(LedgerError):
    """There is no API key with the request, or not one of ours."""


class Forbidden(LedgerError):
    """The key is ours, but does not have the scope that this needs."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key by the name of its holder; `digest` is the SHA-256 of the key's text."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may."""

    name: str
    scopes: frozenset[Scope]

    @property
    def is_masked(self) -> bool:
        """Whether phone numbers and bodies must be withheld from this caller."""
        return self.scopes.isdisjoint({Scope.READ, Scope.ADMIN})

    def may(self, scope: Scope) -> bool:
        """Whether the caller has a scope; what `read` may see, `masked` may see masked."""
        return (
            scope in self.scopes
            or Scope.ADMIN in self.scopes
            or (scope is Scope.MASKED and Scope.READ in self.scopes)
        )


LOCAL_CALLER = Caller("loopback", frozenset(Scope))


@dataclass(frozen=True, slots=True)
class Access:
    """The keys that are valid here; none: everything works, from loopback alone."""

    keys: tuple[ApiKey, ...]

    def authorise(self, connection: HTTPConnection, scope: Scope) -> Caller:
        """The caller of a request that needs `scope`; Unauthenticated or Forbidden."""
        caller = self.caller(connection)
        if not caller.may(scope):
            raise Forbidden(f"the key {caller.name!r} does not have the scope {scope.value!r}")
        return caller

    def caller(self, connection: HTTPConnection) -> Caller:
        """Who asks, by the bearer key; Unauthenticated where that is nobody."""
        if not self.keys:
            if not _is_loopback(connection):
                raise Unauthenticated("no API keys are set (LEDGER_API_KEYS), so only loopback is answered")
            return LOCAL_CALLER
        scheme, _, key = connection.headers.get("authorization", "").partition(" ")
        caller = self.holder(key.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise Unauthenticated("an API key is needed: Authorization: Bearer <key>")
        return caller

    def holder(self, key: str) -> Caller | None:
        """The holder of a key. Every key is compared, so that the time taken tells nothing."""
        digest = sha256_of(key)
        holders = [each for each in self.keys if hmac.compare_digest(each.digest, digest)]
        return Caller(holders[0].name, holders[0].scopes) if holders else None


def sha256_of(key: str) -> bytes:
    """The digest under which a key is kept."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _is_loopback(connection: HTTPConnection) -> bool:
    """By the peer's address, never by a header that it sends; a foreign Host is a page in somebody's browser."""
    host = connection.headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if connection.client is None or name not in LOOPBACK_NAMES:
        return False
    try:
        return ipaddress.ip_address(connection.client.host).is_loopback
    except ValueError:
        return False
