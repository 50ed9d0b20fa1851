"""The colours: every ink on every ground that it stands on meets WCAG 2.2 AA, light and dark."""

import re
from itertools import product

import pytest

from api.console.rendering import static_files

CSS = static_files()["console.css"].decode()
LIGHT, DARK = [
    dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
]
INKS = ("ink", "soft", "accent", "good", "bad", "warn", "calm", "grey", "violet")
GROUNDS = ("paper", "card", "sunk")
ON_WASHES = [
    ("good", "good-wash"),
    ("bad", "bad-wash"),
    ("warn", "warn-wash"),
    ("ink", "bad-wash"),
    ("accent-ink", "accent"),
]
TEXT_MIN, SHAPE_MIN = 4.5, 3.0


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read(scheme: dict[str, str]) -> None:
    pairs = [*product(INKS, GROUNDS), *ON_WASHES]

    assert [pair for pair in pairs if contrast(scheme[pair[0]], scheme[pair[1]]) < TEXT_MIN] == []


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_edges_of_fields_can_be_seen(scheme: dict[str, str]) -> None:
    assert [ground for ground in ("paper", "card") if contrast(scheme["edge"], scheme[ground]) < SHAPE_MIN] == []
