"""How the ledger does: ingest, outcomes, read models and rebuilds, live; and the heads of the hash chain."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response, StreamingResponse

from api.access import Caller
from api.console.charts import chart_of
from api.console.pulse import SAMPLE_EVERY_S, SAMPLES_MAX, Pulse, Sample
from api.console.quarantine import waiting
from api.console.rendering import PAGE_HEADERS, counted, see_other
from api.console.visit import Console, Visit
from api.errors import TooManyStreams
from api.verifying import known_verification
from ledger.durations import lasting
from ledger.errors import LedgerError, NotFound
from ledger.positions import Position
from projections.health import ProjectionStatus, lag_in_words

STREAMS_MAX = 16
STREAM_LASTS_S = 15 * 60
"""Then the browser connects again, and whoever signed out or was forgotten does not get in again. A revoked key ends it at once."""


def operations_page(visit: Visit) -> Response:
    """The page as it is now; its script follows the stream."""
    sample = visit.console.pulse.feel()
    heads = [
        (Position(partition, head.position), head.hash.hex())
        for partition, head in enumerate(visit.service.ledger.heads())
    ]
    return visit.page(
        "operations.html",
        told=_told(visit.console.pulse, sample),
        projections=sample.projections,
        quarantined=waiting(visit),
        warnings=[*visit.service.clock.warnings(), *visit.service.readiness.warnings(visit.service.trail)],
        reasons=visit.service.readiness.reasons(),
        heads=heads,
        verified=known_verification(visit.service.trail),
        samples=SAMPLES_MAX,
        started=visit.asked("rebuilding"),
    )


def rebuild(visit: Visit) -> Response:
    """Begins to build a read model again beside the live one; RebuildRunning while somebody does, NotFound."""
    name = visit.form().get("name", "")
    visit.tell(subject=name)
    names = [each.name for each in visit.console.pulse.feel().projections]
    if name not in names:
        raise NotFound(f"there is no read model {name[:64]}: expected {' or '.join(names)}")
    visit.service.rebuild(name)
    return see_other("/console/operations?rebuilding=1")


async def operations_stream(visit: Visit) -> Response:
    """The pulse as server-sent events, one a second."""
    if visit.console.streams.number >= STREAMS_MAX:
        raise TooManyStreams(f"{STREAMS_MAX} pages of operations are open already; close one")
    headers = PAGE_HEADERS | {"X-Accel-Buffering": "no"}
    if visit.request.method == "HEAD":
        return Response(None, 200, headers, "text/event-stream")
    return StreamingResponse(_beats(visit.console, visit.caller), 200, headers, "text/event-stream")


async def _beats(console: Console, caller: Caller) -> AsyncIterator[bytes]:
    console.streams.number += 1
    try:
        for _ in range(int(STREAM_LASTS_S / SAMPLE_EVERY_S)):
            if console.service.closing.is_set() or console.service.access.still(caller) is None:
                return
            try:
                sample = await asyncio.to_thread(console.pulse.feel)
            except (LedgerError, SQLAlchemyError):
                return  # the browser connects again
            yield b"data: " + msgspec.json.encode(_told(console.pulse, sample)) + b"\n\n"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(console.service.closing.wait(), SAMPLE_EVERY_S)
    finally:
        console.streams.number -= 1


def _told(pulse: Pulse, sample: Sample) -> dict[str, object]:
    """The pulse in words and paths, so that the script only has to put them in their places."""
    rates = pulse.rates()
    ingest = chart_of([rate.events_per_s for rate in rates], SAMPLES_MAX)
    lag = chart_of([float(rate.lag_events) for rate in rates], SAMPLES_MAX)
    return {
        "texts": {
            "rate": f"{rates[-1].events_per_s:,.0f}" if rates else "…",
            "events": f"{sample.events:,}",
            "lag": f"{sample.lag_events:,}",
            "rate-ceiling": f"{ingest.ceiling:,}/s",
            "lag-ceiling": f"{lag.ceiling:,}",
            **{f"outcome-{outcome}": f"{number:,}" for outcome, number in sample.outcomes.items()},
            **{f"{each.name}-{what}": words for each in sample.projections for what, words in _words(each).items()},
        },
        "paths": {
            "rate-line": ingest.line,
            "rate-area": ingest.area,
            "lag-line": lag.line,
            "lag-area": lag.area,
        },
        "bars": {f"{each.name}-bar": _share(each) for each in sample.projections},
        "states": {f"{each.name}-state": _state(each) for each in sample.projections},
    }


def _words(projection: ProjectionStatus) -> dict[str, str]:
    rebuild_ = projection.rebuild
    progress = ""
    if rebuild_ is not None and projection.is_cut_off:
        progress = (
            f"A rebuild was cut off at {rebuild_.done:,} of {counted(rebuild_.total, 'event')}. Rebuilding goes on there."
            f" To drop what it had built: ledger rebuild {projection.name} --cancel"
        )
    elif rebuild_ is not None:
        left = "" if rebuild_.seconds_left is None else f", {lasting(rebuild_.seconds_left)} left"
        progress = f"{rebuild_.done:,} of {counted(rebuild_.total, 'event')}, {rebuild_.events_per_second:,.0f}/s{left}"
    return {
        "lag": lag_in_words(projection.lag_events, projection.lag_seconds),
        "position": projection.position,
        "parked": _parked(projection),
        "progress": progress,
    }


def _state(projection: ProjectionStatus) -> str:
    return f"{projection.condition}, rebuild cut off" if projection.is_cut_off else projection.condition


def _parked(projection: ProjectionStatus) -> str:
    if not projection.parked:
        return "0"
    name = projection.name
    return f"{projection.parked:,}. Why: ledger projections. To try again: ledger projections retry {name}"


def _share(projection: ProjectionStatus) -> int:
    """How much of a rebuild is done, of 100; -1 where there is none."""
    rebuild_ = projection.rebuild
    return -1 if rebuild_ is None else round(100 * rebuild_.done / max(1, rebuild_.total))
