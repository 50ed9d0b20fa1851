"""What a simulation did and found, as one value, as JSON and as a page for people."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from rich.console import Group
from rich.text import Text

from api.simulator.audit import Findings, Verdict
from api.simulator.plan import Plan
from api.simulator.tally import NO_ANSWER, Tally
from api.visible import visible

KNOWN_OUTCOMES = ("recorded", "duplicate", "quarantined")
# Where nobody may or wants to look, nothing was found wrong; where the ledger fails to answer, something is.
FINE_VERDICTS = (Verdict.YES, Verdict.NOT_ASKED, Verdict.NOT_ALLOWED)
HELD_EXACTLY_ONCE = {Verdict.YES: True, Verdict.NO: False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The counts of one run.

    Of the deliveries that were `sent`: `recorded`, `duplicate`, `quarantined` and `other_outcomes` were acknowledged,
    `refused` were given up after five attempts, `unfinished` were cut off by a stop. `retried` needed more than one
    attempt. `statuses` counts attempts. `seconds` is the time of the deliveries, without the audit.
    """

    seed: int
    start: str
    messages: int
    facts: int
    dropped: int
    interrupted: bool
    sent: int
    attempts: int
    recorded: int
    duplicate: int
    quarantined: int
    other_outcomes: int
    refused: int
    retried: int
    unfinished: int
    sends_recorded: int
    sends_refused: int
    statuses: Mapping[str, int]
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    seconds: float
    rate: float
    audit: Findings
    hint: str | None = None

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong: nothing refused or quarantined, and no fact missing, twice or unexpected."""
        return not (self.refused or self.sends_refused or self.quarantined) and self.audit.verdict in FINE_VERDICTS

    def as_json(self) -> dict[str, object]:
        """For `--json`: camelCase, times in milliseconds or seconds as the names say."""
        return {
            "fine": self.fine,
            "seed": self.seed,
            "start": self.start,
            "messages": self.messages,
            "facts": self.facts,
            "dropped": self.dropped,
            "interrupted": self.interrupted,
            "sent": self.sent,
            "attempts": self.attempts,
            "recorded": self.recorded,
            "duplicate": self.duplicate,
            "quarantined": self.quarantined,
            "otherOutcomes": self.other_outcomes,
            "refused": self.refused,
            "retried": self.retried,
            "unfinished": self.unfinished,
            "sends": {"recorded": self.sends_recorded, "refused": self.sends_refused},
            "statuses": dict(self.statuses),
            "latencyMs": {"p50": self.latency_p50_ms, "p99": self.latency_p99_ms},
            "seconds": self.seconds,
            "rate": self.rate,
            "audit": _audit_as_json(self.audit),
        }


def summarise(
    plan: Plan, tally: Tally, findings: Findings, *, facts: int, dropped: int, seconds: float, interrupted: bool
) -> Summary:
    """The tally at the end of a run, with the findings of its audit."""
    acknowledged = tally.outcomes.total()
    latencies_ms = sorted(latency_s * 1_000 for latency_s in tally.latencies_s)
    return Summary(
        seed=plan.seed,
        start=plan.start,
        messages=plan.messages,
        facts=facts,
        dropped=dropped,
        interrupted=interrupted,
        sent=tally.sent,
        attempts=tally.attempts,
        recorded=tally.outcomes["recorded"],
        duplicate=tally.outcomes["duplicate"],
        quarantined=tally.outcomes["quarantined"],
        other_outcomes=acknowledged - sum(tally.outcomes[outcome] for outcome in KNOWN_OUTCOMES),
        refused=tally.refused,
        retried=tally.retried,
        unfinished=tally.sent - tally.finished,
        sends_recorded=tally.sends_recorded,
        sends_refused=tally.sends_refused,
        statuses=dict(sorted(tally.statuses.items())),
        latency_p50_ms=_quantile(latencies_ms, 0.50),
        latency_p99_ms=_quantile(latencies_ms, 0.99),
        seconds=round(seconds, 3),
        rate=round(acknowledged / seconds, 1) if seconds else 0.0,
        audit=findings,
        hint=_hint(plan, tally),
    )


def _hint(plan: Plan, tally: Tally) -> str | None:
    """What is wrong where nothing was taken at all."""
    match list(tally.statuses):
        case [status] if status == NO_ANSWER:
            return f"No answer from {plan.url}: {tally.no_answer}. Is the server running, and is it this address?"
        case ["401"]:
            return "Every delivery was refused with 401: is --secret one of the server's LEDGER_WEBHOOK_SECRETS?"
        case _:
            return None


def rendered(summary: Summary) -> Group:
    """For people: the counts, a line each however wide the screen is, then what the audit found."""
    rows = list(_rows(summary))
    names, counts = max(len(name) for name, _, _ in rows), max(len(count) for _, count, _ in rows)
    lines = [
        Text.assemble((f"{name:<{names}}", "bold"), f"  {count:>{counts}}  ", (meaning, "dim"))
        for name, count, meaning in rows
    ]
    return Group(*lines, "", *_verdict_lines(summary))


def _rows(summary: Summary) -> Iterator[tuple[str, str, str]]:
    made = f"{summary.facts} facts, {summary.dropped} never delivered, seed {summary.seed}, start {summary.start}"
    yield "messages", str(summary.messages), made
    yield "deliveries", str(summary.sent), f"{summary.attempts} attempts, {summary.retried} deliveries tried again"
    yield "recorded", str(summary.recorded), "new to the ledger"
    yield "duplicate", str(summary.duplicate), "already held"
    yield "quarantined", str(summary.quarantined), "authentic, but the ledger could not read them"
    if summary.other_outcomes:
        yield "other", str(summary.other_outcomes), "acknowledged without saying how"
    yield "refused", str(summary.refused), "given up after five attempts"
    if summary.unfinished:
        yield "unfinished", str(summary.unfinished), "cut off by the stop"
    if summary.sends_recorded or summary.sends_refused:
        yield "sends", str(summary.sends_recorded), f"handed over, {summary.sends_refused} refused"
    by_status = ", ".join(
        f"{count} attempts without an answer" if status == NO_ANSWER else f"{count} times {status}"
        for status, count in summary.statuses.items()
    )
    yield "answers", str(sum(summary.statuses.values())), by_status
    if summary.latency_p50_ms is not None:
        yield "latency", f"{summary.latency_p50_ms} ms", f"median; 99 in 100 within {summary.latency_p99_ms} ms"
    yield "rate", f"{summary.rate}/s", f"acknowledged deliveries, in {summary.seconds} s"


def _verdict_lines(summary: Summary) -> Iterator[Text]:
    if summary.hint is not None:
        yield Text(visible(summary.hint), style="red")
    if summary.interrupted:
        yield Text("Stopped before the end; this is what happened so far.", style="yellow")
    audit = summary.audit
    yield Text("Everything that was acknowledged is there, exactly once: ").append_text(_verdict(audit))
    for difference in audit.differences:
        claim = f"{difference.message_id}: {difference.event_type} {difference.what}: {difference.body}"
        yield Text(f"  {visible(claim)}")
    if more := audit.difference_count - len(audit.differences):
        yield Text(f"  and {more} more")
    if given_up := audit.given_up_missing + audit.given_up_held:
        never = f"Never acknowledged, as it was refused or not answered five times: {given_up} of the facts;"
        yield Text(f"{never} {audit.given_up_missing} are not there, {audit.given_up_held} are.", style="yellow")


def _verdict(audit: Findings) -> Text:
    match audit.verdict:
        case Verdict.YES:
            return Text(f"yes ({audit.messages} messages)", style="green")
        case Verdict.NO:
            return Text(f"no ({audit.difference_count} differences)", style="red")
        case Verdict.NOT_ASKED | Verdict.NOT_ALLOWED | Verdict.NOT_ANSWERED:
            return Text(f"not checked: {audit.reason}", style="yellow")
        case _:
            assert_never(audit.verdict)


def _audit_as_json(findings: Findings) -> dict[str, object]:
    return {
        "verdict": findings.verdict.value,
        "heldExactlyOnce": HELD_EXACTLY_ONCE.get(findings.verdict),
        "reason": findings.reason,
        "messages": findings.messages,
        "neverAcknowledged": {"missing": findings.given_up_missing, "held": findings.given_up_held},
        "differenceCount": findings.difference_count,
        "differences": [
            {
                "messageId": difference.message_id,
                "difference": difference.what,
                "eventType": difference.event_type,
                "body": difference.body,
            }
            for difference in findings.differences
        ],
    }


def _quantile(ordered: list[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else None
