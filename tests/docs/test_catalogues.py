"""The catalogues in `docs/` are the code's own tables in words: kinds, statuses, effects, events."""

import re
from pathlib import Path

import msgspec
import pytest

from api import shapes
from api.audit.acts import LEAVES, Act, Leaves
from ledger.events import MessageEvent
from ledger.mapper import EVENT_CLASSES
from ledger.message import missing_sequences
from ledger.provider import STATUS_OF, Effect, Status
from ledger.webhooks import OCCURRENCE_MEMBERS
from projections.failures import CODE_PATHS, NOT_DETAILS
from tests.builders import body, event, given
from tests.pages import block

DOCS = Path(__file__).parents[2] / "docs"


def rows(document: str, first_header: str) -> list[list[str]]:
    """The cells of the table that begins with a header, without the header."""
    lines = iter((DOCS / document).read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first_header} |"):
            next(lines)
            break
    found: list[list[str]] = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def code(cell: str) -> str:
    """The first piece of code in a cell."""
    found = re.search(r"`([^`]+)`", cell)
    return found[1] if found else ""


def test_every_status_is_explained_once() -> None:
    assert sorted(code(row[0]) for row in rows("LIFECYCLE.md", "status")) == sorted(Status)


def test_the_kind_that_brings_a_status_is_the_one_in_the_code() -> None:
    documented = {code(row[1]): code(row[0]) for row in rows("LIFECYCLE.md", "status")}

    assert {kind: documented[kind] for kind in STATUS_OF} == STATUS_OF


@pytest.mark.parametrize(
    "member, tried",
    [
        ("failure", sorted(NOT_DETAILS)),
        ("failureCode", [".".join(path) for path in CODE_PATHS]),
        ("occurredAt", list(OCCURRENCE_MEMBERS)),
    ],
)
def test_what_is_looked_for_in_a_body_is_told_in_the_order_in_which_it_is(member: str, tried: list[str]) -> None:
    (told,) = (row[1] for row in rows("HTTP.md", "member") if row[0] == f"`{member}`")
    named = re.findall("`([^`]+)`", told.partition("but" if member == "failure" else ":")[2])

    assert (sorted(named) if member == "failure" else named) == tried


def test_every_effect_is_explained_once() -> None:
    assert sorted(code(row[0]) for row in rows("LIFECYCLE.md", "effect")) == sorted(Effect)


def test_an_arrow_of_the_picture_leads_to_the_status_that_its_event_brings() -> None:
    brought = {code(row[1]): code(row[0]) for row in rows("LIFECYCLE.md", "status")}
    arrows = re.findall(r"--> (\w+): ([\w.]+)$", (DOCS / "LIFECYCLE.md").read_text(), re.MULTILINE)

    assert {(kind, status) for status, kind in arrows} == {
        (kind, status) for kind, status in brought.items() if re.fullmatch(r"[\w.]+", kind) and "." in kind
    }


def test_the_example_is_what_the_rule_makes_of_it() -> None:
    lifecycle = given()
    for _, claim, effect, status in rows("LIFECYCLE.md", "came"):
        ((kind, sequence),) = re.findall(r"`([\w.]+)`, sequence (\d+)", claim)
        lifecycle = lifecycle.when(event(body(kind, sequence=int(sequence))))

        assert (lifecycle.history[-1].effect, lifecycle.message.status) == (code(effect), code(status))
    assert list(missing_sequences(lifecycle.message)) == [3]


@pytest.mark.parametrize("event_class", EVENT_CLASSES, ids=lambda each: str(each.TOPIC))
def test_every_event_is_in_the_catalogue_with_its_typed_fields_in_their_stored_order(
    event_class: type[MessageEvent],
) -> None:
    documented = {code(row[0]): (code(row[1]), row[3].split(", ")) for row in rows("EVENTS.md", "topic")}
    stored = [field.name for field in msgspec.structs.fields(event_class)]

    assert documented[event_class.TOPIC] == (event_class.__name__, stored[1:-1])
    assert (stored[0], stored[-1]) == ("message_id", "receipt")


def test_the_catalogue_has_no_event_that_does_not_exist() -> None:
    assert len(rows("EVENTS.md", "topic")) == len(EVENT_CLASSES)


def test_every_act_is_explained_once_with_when_it_leaves_an_entry() -> None:
    words = {Leaves.WHEN_SHOWN: "when shown", Leaves.ALWAYS: "always", Leaves.NOTHING: "nothing"}
    documented = [(code(row[0]), row[2]) for row in rows("HTTP.md", "act")]

    assert documented == [(act.value, words[LEAVES[act]]) for act in Act]


@pytest.mark.parametrize(
    "marker, shape",
    [
        ("a-status", shapes.Message),
        ("an-event", shapes.FeedEvent),
        ("a-send-answered", shapes.SendRecorded),
        ("a-problem", shapes.Problem),
    ],
)
def test_an_example_of_an_answer_has_the_shape_of_one(marker: str, shape: type) -> None:
    msgspec.json.decode(block("docs/HTTP.md", marker), type=shape)
