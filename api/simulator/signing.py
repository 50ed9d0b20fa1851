"""The provider's side of the signature: lower-case hex of HMAC_SHA256(secret, timestamp + "." + rawBody).

Written from Red Cloud's contract ("Signing") and not from our own verification, so that the two check each other.
"""

import hmac

from ledger.errors import SettingRefused

TIMESTAMP_HEADER = b"X-RedCloud-Timestamp"
SIGNATURE_HEADER = b"X-RedCloud-Signature"


def signed_headers(secret: bytes, timestamp: str, body: bytes) -> list[tuple[bytes, bytes]]:
    """The two headers that prove the body's origin. The timestamp is signed exactly as it is sent."""
    stamp = timestamp.encode("ascii")
    digest = hmac.digest(secret, stamp + b"." + body, "sha256")
    return [(TIMESTAMP_HEADER, stamp), (SIGNATURE_HEADER, digest.hex().encode("ascii"))]


def read_secret(text: str) -> bytes:
    """The key in `id:secret` (as in LEDGER_WEBHOOK_SECRETS) or in a secret alone.

    What stands before the first colon is the id, so a secret with a colon in it needs one.
    """
    secret = text.split(":", 1)[-1].strip()
    if not secret:
        raise SettingRefused("--secret: expected a secret or id:secret, found no secret in it")
    return secret.encode()
