"""The `type` of every problem is a link to a paragraph that exists."""

import re
from pathlib import Path

from api.http.problems import KINDS, TYPE_BASE

DOCS = Path(__file__).parents[2] / "docs"
ANSWERED_BY_THE_CONNECTION = {"malformed-request", "head-too-large", "head-too-slow"}
ANSWERED_WITHOUT_AN_ERROR = {"method-not-allowed", "internal"} | ANSWERED_BY_THE_CONNECTION


def test_every_problem_has_its_paragraph_and_no_paragraph_is_of_a_problem_that_does_not_exist() -> None:
    paragraphs = set(re.findall(r"^### Problem: ([a-z-]+)$", (DOCS / "HTTP.md").read_text(), re.MULTILINE))

    assert paragraphs == {kind.slug for kind in KINDS.values()} | ANSWERED_WITHOUT_AN_ERROR


def test_the_link_leads_to_the_heading_as_a_reader_of_markdown_names_it() -> None:
    assert TYPE_BASE + "not-found" == "docs/HTTP.md#problem-not-found"
