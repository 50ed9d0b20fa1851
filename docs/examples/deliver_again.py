"""Delivers once more, to a running ledger, what another ledger holds: after a restore, what was recorded after the backup.

Every webhook goes out as it came, with its own timestamp and signature, so it is verified anew (by a secret that must still
be active); what is known already is answered `duplicate`. Cut off anywhere, it can be started again.

    python deliver_again.py sqlite:////path/of/the/old/ledger.db http://127.0.0.1:8080 KEY_WITH_SCOPE_WRITE

`docs/deploy/backup.md` says when; `tests/deploy/test_backup_and_restore.py` runs it.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ledger.events import Receipt, RequestAccepted
from ledger.ledger import Ledger
from ledger.log_entries import readable
from ledger.positions import Cursor

PAGE = 500


def deliver_again(old: Ledger, server: str, key: str) -> Counter[str]:
    """Delivers everything that a ledger holds; how often the server answered what."""
    answers = Counter[str]()
    for what, request in requests(old, server, key):
        try:
            with urlopen(request, timeout=60) as answer:
                answers[json.load(answer)["outcome"]] += 1
        except HTTPError as refused:
            answers[f"refused with {refused.code}"] += 1
            print(f"refused with {refused.code}: {what}", file=sys.stderr)  # noqa: T201 - for who must act on it
    return answers


def requests(old: Ledger, server: str, key: str) -> Iterator[tuple[str, Request]]:
    """Each webhook and each send, in the order of the log, then each unreadable delivery; with what it is, for people."""
    sends, cursor = set[str](), Cursor.start(old.partitions)
    while True:
        entries, cursor = old.feed(cursor, PAGE)
        if not entries:
            break
        for entry in readable(entries):
            event = entry.event
            if not isinstance(event, RequestAccepted):
                what = f"{entry.position}, of message {event.message_id}, signed with {event.receipt.secret_id}"
                yield what, webhook(server, event.receipt)
            elif event.idempotency_key not in sends:
                sends.add(event.idempotency_key)
                headers = {"Authorization": f"Bearer {key}"}
                _, body = old.handed_over(event.idempotency_key)
                yield f"the send {event.idempotency_key}", Request(f"{server}/sends", body, headers)
    after = (-1, "")
    while unreadable := old.quarantined(after=after, limit=PAGE):
        for delivery in unreadable:
            yield f"quarantine {delivery.quarantine_id}", webhook(server, delivery.receipt)
        after = (unreadable[-1].receipt.received_at_us, unreadable[-1].quarantine_id)


def webhook(server: str, receipt: Receipt) -> Request:
    """A delivery as Red Cloud made it; without signature where signing was switched off."""
    headers = dict[str, str]()
    if receipt.timestamp is not None and receipt.digest is not None:
        headers = {"X-RedCloud-Timestamp": receipt.timestamp, "X-RedCloud-Signature": receipt.digest.hex()}
    return Request(f"{server}/webhooks/red-cloud", receipt.body, headers)


def main(old_url: str, server: str, key: str) -> int:
    """Prints how often the server answered what; 1 where it refused something."""
    with Ledger.open_existing(old_url) as old:
        answers = deliver_again(old, server, key)
    for answer, times in sorted(answers.items()):
        print(f"{answer}: {times}")  # noqa: T201 - that is what this program is for
    return int(any(answer.startswith("refused") for answer in answers))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
