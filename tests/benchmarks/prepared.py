"""Requests made before the clock starts: signed, unique where they must be, one file that wrk and the open loop read.

A file holds records of one line with a length in decimal digits and then that many bytes: a whole HTTP request each.
"""

import hashlib
import hmac
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from api.simulator.signing import signed_headers
from ledger.events import Receipt, receipt_of
from ledger.signatures import Signature

SECRET_ID = "main"
SECRET = b"a secret of the benchmarks only"
WEBHOOK_PATH = "/webhooks/red-cloud"
LIFECYCLE = (("message.queued", 1), ("message.sent", 2), ("message.sent", 3), ("message.delivery", 4))
"""Four facts a message; it is sent on by a second carrier."""

FAILS_EACH = 20
"""Of so many messages one fails in the end."""

SPREAD = 1_000
"""How many messages are under way at once: the facts of one message are this far apart, as at a provider."""


def message_id(number: int) -> str:
    """The id of a message: as long and as random as a provider's."""
    return "msg_" + hashlib.blake2b(b"%d" % number, digest_size=12).hexdigest()


def body(message: int, step: int) -> bytes:
    """One fact, of about 200 bytes."""
    kind, sequence = LIFECYCLE[step]
    details = ""
    if kind == "message.delivery" and message % FAILS_EACH == 0:
        kind, details = "message.failed", ',"errorCode":30003,"errorMessage":"Unreachable destination handset"'
    identity = message_id(message)
    text = (
        f'{{"eventType":"{kind}","messageId":"{identity}","externalReference":"order_{message}","sequence":{sequence},'
        f'"providerMessageRef":"SM{identity[4:]}{identity[4:12]}","occurredAt":"2026-11-23T16:00:{message % 60:02}Z"{details}}}'
    )
    return text.encode()


def lifecycles(first: int = 0) -> Iterator[bytes]:
    """Facts without end, each unique, four a message, those of many messages mingled."""
    while True:
        for step in range(len(LIFECYCLE)):
            for message in range(first, first + SPREAD):
                yield body(message, step)
        first += SPREAD


def single_facts(first: int = 0) -> Iterator[bytes]:
    """Facts without end, each of a message of its own."""
    while True:
        yield body(first, 0)
        first += 1


def repeated(facts: Iterable[bytes]) -> Iterator[bytes]:
    """The same facts again and again."""
    held = list(facts)
    while True:
        yield from held


def signed_request(content: bytes, now_s: int) -> bytes:
    """A delivery as it goes over the wire."""
    headers = b"".join(name + b": " + value + b"\r\n" for name, value in signed_headers(SECRET, str(now_s), content))
    return (
        b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s"
        % (WEBHOOK_PATH.encode(), len(content), headers, content)
    )


def receipt(content: bytes, at_us: int) -> Receipt:
    """A delivery as it is once its signature, made in the second in which it came, is verified: that would find what is made here."""
    timestamp = str(at_us // 1_000_000)
    digest = hmac.digest(SECRET, f"{timestamp}.".encode() + content, "sha256")
    return receipt_of(content, Signature(timestamp, digest, SECRET_ID, late=False), at_us)


def get_request(path: str, key: str | None = None) -> bytes:
    """A question as it goes over the wire."""
    authorization = "" if key is None else f"Authorization: Bearer {key}\r\n"
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}\r\n".encode()


def write_deliveries(file: Path, facts: Iterator[bytes], count: int) -> Path:
    """A file of signed deliveries."""
    now_s = int(time.time())
    return write_requests(file, (signed_request(fact, now_s) for fact in islice(facts, count)))


def write_requests(file: Path, requests: Iterable[bytes]) -> Path:
    """A file of requests."""
    with file.open("wb", buffering=1 << 20) as output:
        for request in requests:
            output.write(b"%d\n%s" % (len(request), request))
    return file


def read_requests(file: Path) -> Iterator[bytes]:
    """The requests of a file, in order."""
    with file.open("rb", buffering=1 << 20) as content:
        while line := content.readline():
            yield content.read(int(line))
