"""The page of one event: the body to the byte, whether its signature holds, and where it stands in the hash chain."""

import hashlib
import hmac
from enum import Enum
from typing import NamedTuple

import msgspec
from starlette.responses import Response

from api.console.rendering import PAGE_HEADERS
from api.console.visit import Visit
from api.errors import Forbidden
from api.http.questions import version_asked
from api.http.responses import bytes_answer
from ledger.chain import event_hash, genesis_hash
from ledger.errors import NotFound
from ledger.events import Receipt, RequestAccepted, event_type_of, occurred_at_us_of, sequence_of
from ledger.log_entries import LogEntry
from ledger.store import reads


class Verdict(Enum):
    """What is known of a signature now: (mark, in a word, in a sentence)."""

    HOLDS = (
        "good",
        "Holds",
        "Checked again just now: the secret that is active under this id made it over exactly these bytes.",
    )
    BROKEN = (
        "bad",
        "Broken",
        "Checked again just now: it does not fit these bytes and the secret that is active under this id.",
    )
    HELD = (
        "good",
        "Held on arrival",
        "It was checked when it came. Its secret is no longer active here, so it cannot be done again.",
    )
    UNSIGNED = ("plain", "Not signed", "Signing was switched off when it came (LEDGER_ALLOW_UNSIGNED).")
    OURS = (
        "plain",
        "No signature",
        "Your own application handed this over with its API key; Red Cloud did not sign it.",
    )

    @property
    def mark(self) -> str:
        """How it looks."""
        return self.value[0]

    @property
    def word(self) -> str:
        """In a word."""
        return self.value[1]

    @property
    def sentence(self) -> str:
        """In a sentence."""
        return self.value[2]


class Link(NamedTuple):
    """An event's place in the hash chain: the hash before it, its own, and whether the stored bytes still give it."""

    previous: bytes
    own: bytes
    is_first: bool
    holds: bool


def event_page(visit: Visit) -> Response:
    """One event of a message."""
    entry = _entry(visit)
    receipt = entry.event.receipt
    return visit.page(
        "event.html",
        message_id=entry.event.message_id,
        entry=entry,
        kind=visit.said(event_type_of(entry.event)),
        sequence=sequence_of(entry.event),
        occurred_at_us=occurred_at_us_of(entry.event),
        receipt=receipt,
        body=None if visit.masked else receipt.body.decode("utf-8", "replace"),
        laid_out=None if visit.masked else _laid_out(receipt.body),
        sha256=None if visit.masked else hashlib.sha256(receipt.body).hexdigest(),
        verdict=_verdict(visit, entry),
        link=_link(visit, entry),
    )


def event_body(visit: Visit) -> Response:
    """The exact bytes, as a download."""
    if visit.masked:
        raise Forbidden("A key with the scope 'masked' may not read exact bytes.")
    response = bytes_answer(_entry(visit).event.receipt.body)
    response.headers.update({name: text for name, text in PAGE_HEADERS.items() if name not in response.headers})
    return response


def _entry(visit: Visit) -> LogEntry:
    text = visit.request.path_params.get("version") or visit.asked("version") or ""
    version = version_asked(text)
    if version is None:
        raise NotFound(f"there is no version {text[:40]!r}; versions are 1, 2, 3 …")
    return visit.service.ledger.entry(visit.id_in("messageId"), version)


def _laid_out(body: bytes) -> str | None:
    """The JSON with an indentation, where it says more than the body itself."""
    try:
        laid_out = msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if laid_out.encode() == body else laid_out


def _verdict(visit: Visit, entry: LogEntry) -> Verdict:
    receipt = entry.event.receipt
    if isinstance(entry.event, RequestAccepted):
        return Verdict.OURS
    if receipt.digest is None or receipt.timestamp is None:
        return Verdict.UNSIGNED
    key = next((each.key for each in visit.service.settings.secrets or () if each.id == receipt.secret_id), None)
    if key is None:
        return Verdict.HELD
    return Verdict.HOLDS if _is_signed(receipt, receipt.timestamp, receipt.digest, key) else Verdict.BROKEN


def _is_signed(receipt: Receipt, timestamp: str, digest: bytes, key: bytes) -> bool:
    signed = timestamp.encode("ascii", "replace") + b"." + receipt.body
    return hmac.compare_digest(hmac.digest(key, signed, "sha256"), digest)


def _link(visit: Visit, entry: LogEntry) -> Link:
    ledger = visit.service.ledger
    partition, number = entry.position
    with ledger.database.reading() as connection:
        rows = reads.events_after(connection, partition, max(number - 2, 0), 2 if number > 1 else 1)
    row = rows[-1]
    previous = bytes(rows[0].hash) if number > 1 else genesis_hash(ledger.identity.ledger_id, partition)
    made = event_hash(
        previous,
        partition,
        row.position,
        bytes(row.stream_id),
        row.version,
        row.topic,
        None if row.fact_key is None else bytes(row.fact_key),
        bytes(row.state),
    )
    return Link(previous, bytes(row.hash), number == 1, made == bytes(row.hash) and row.position == number)
