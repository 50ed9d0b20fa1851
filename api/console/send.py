"""The page of a request to send: what your application asked for, what Red Cloud promised, and what it refused."""

import msgspec
from starlette.responses import Response

from api.console.visit import Visit
from projections.masking import mask_value


def send_page(visit: Visit) -> Response:
    """A request under its idempotency key."""
    key = visit.id_in("idempotencyKey")
    send = visit.service.ledger.send(key)
    accepted = send.accepted
    text = accepted.request.get("text")
    return visit.page(
        "send.html",
        key=key,
        recorded_at_us=send.recorded_at_us,
        number=accepted.request.get("sendFrom"),
        reference=accepted.request.get("externalReference"),
        text=text if isinstance(text, str) and not visit.masked else None,
        is_withheld=text is not None and visit.masked,
        results=[
            (result.message_id, visit.phone(result.recipient), result.status, position)
            for result, position in zip(accepted.results, send.positions, strict=True)
        ],
        rejected=[
            visit.said(msgspec.json.encode(mask_value(each) if visit.masked else each).decode())
            for each in accepted.rejected
        ],
    )
