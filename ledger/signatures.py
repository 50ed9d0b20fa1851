"""Step 3 on a webhook's way: raw headers and raw body in, a proof of origin out.

Knows the provider's signing rule and nothing of what a body means; it runs before anything is parsed.
Source: Red Cloud's contract, "Signing": lower-case hex of HMAC_SHA256(secret, timestamp + "." + rawBody).
"""

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ledger.errors import SignatureRefused
from ledger.times import read_time

TIMESTAMP_HEADER = b"x-redcloud-timestamp"
SIGNATURE_HEADER = b"x-redcloud-signature"
REPLAY_WINDOW_S_DEFAULT = 2 * 60 * 60

_SIGNATURE_HEX = re.compile(rb"[0-9A-Fa-f]{64}")
_TIMESTAMP_BYTES_MAX = 64


@dataclass(frozen=True, slots=True)
class Secret:
    """An active signing secret: the id is kept with every event that it verified, the key is never shown."""

    id: str
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """TypeError at once, and not within the first delivery."""
        if not isinstance(self.key, bytes):
            raise TypeError(f"the key of the secret {self.id!r} is a {type(self.key).__name__}, expected bytes")


@dataclass(frozen=True, slots=True)
class Signature:
    """A verified signature: the exact text of the timestamp header, the digest (32 bytes) and what they proved.

    `late` says that the timestamp is further from our clock than the replay window. Such a delivery is recorded all the
    same: the provider may retry with its first timestamp, and what we refuse five times is lost.
    """

    timestamp: str
    digest: bytes
    secret_id: str
    late: bool


def verify(
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    secrets: Sequence[Secret],
    *,
    now_us: int,
    replay_window_s: int = REPLAY_WINDOW_S_DEFAULT,
) -> Signature:
    """The proof that one of `secrets` signed exactly this body, or SignatureRefused.

    `headers` are (lower-case name, value) pairs of bytes, as ASGI gives them.
    """
    timestamp, signature = _the_two_headers(headers)
    signed_at_us = _signed_at_us(timestamp)
    if _SIGNATURE_HEX.fullmatch(signature) is None:
        raise SignatureRefused("the signature header is not 64 hexadecimal digits")
    digest = bytes.fromhex(signature.decode("ascii"))
    secret_id = _matching_secret(secrets, timestamp + b"." + body, digest)
    if secret_id is None:
        raise SignatureRefused("no active secret made this signature")
    late = abs(now_us - signed_at_us) > replay_window_s * 1_000_000
    return Signature(timestamp.decode("ascii"), digest, secret_id, late)


def _the_two_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in (TIMESTAMP_HEADER, SIGNATURE_HEADER):
            if name in found:
                raise SignatureRefused(f"the header {name.decode('ascii')} was sent more than once")
            found[name] = value
    if len(found) != 2:  # noqa: PLR2004 - the two headers of the contract
        raise SignatureRefused("the timestamp or the signature header is missing")
    return found[TIMESTAMP_HEADER], found[SIGNATURE_HEADER]


def _signed_at_us(timestamp: bytes) -> int:
    # Only forms without a free ".": otherwise the border between timestamp and body could be moved under a good signature.
    text = timestamp.decode("ascii", "replace") if len(timestamp) <= _TIMESTAMP_BYTES_MAX else ""
    signed_at_us = read_time(text)
    if signed_at_us is None:
        raise SignatureRefused("the timestamp header is neither a Unix time nor RFC 3339 with a zone")
    return signed_at_us


def _matching_secret(secrets: Sequence[Secret], signed: bytes, digest: bytes) -> str | None:
    """Tries every secret without an early exit, so that the time taken tells nothing about which one matched."""
    matched = None
    for secret in secrets:
        if hmac.compare_digest(hmac.digest(secret.key, signed, "sha256"), digest):
            matched = secret.id
    return matched
