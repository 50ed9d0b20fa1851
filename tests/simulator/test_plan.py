"""A plan that makes no sense is refused, with the option, what was expected and what was found."""

from typing import Any

import pytest

from api.simulator import Plan
from api.simulator.signing import read_secret, signed_headers
from ledger.errors import SettingRefused

SENSIBLE: dict[str, Any] = {"url": "http://127.0.0.1:8080", "secret": "main:s3cret", "messages": 1}


@pytest.mark.parametrize(
    "option, value, message",
    [
        ("url", "127.0.0.1:8080", "--url: expected a base URL such as http://127.0.0.1:8080, found '127.0.0.1:8080'"),
        ("url", "ftp://host", "--url: expected a base URL such as http://127.0.0.1:8080, found 'ftp://host'"),
        ("url", "http://host?a=1", "--url: expected a base URL such as http://127.0.0.1:8080, found 'http://host?a=1'"),
        ("secret", "main:", "--secret: expected a secret or id:secret, found no secret in it"),
        ("messages", 0, "--messages: expected a whole number from 1 to 1000000, found 0"),
        ("messages", 10**7, "--messages: expected a whole number from 1 to 1000000, found 10000000"),
        ("connections", 0, "--connections: expected a whole number from 1 to 1000, found 0"),
        ("start", "today", "--start: expected RFC 3339 with a zone (2026-01-01T00:00:00Z), found 'today'"),
        ("inbound", -0.1, "--inbound: expected a share from 0 to 1, found -0.1"),
        ("duplicates", 1.5, "--duplicates: expected a share from 0 to 1, found 1.5"),
        ("drop", float("nan"), "--drop: expected a share from 0 to 1, found nan"),
        ("rate", 0.0, "--rate: expected deliveries a second above 0, found 0.0"),
        ("rate", float("inf"), "--rate: expected deliveries a second above 0, found inf"),
        ("speed_up", 0.0, "--speed-up: expected a factor above 0, found 0.0"),
        ("api_key", "ключ", "--api-key: expected visible ASCII characters, found others or none"),
        ("api_key", "", "--api-key: expected visible ASCII characters, found others or none"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(option: str, value: object, message: str) -> None:
    with pytest.raises(SettingRefused) as refused:
        Plan(**SENSIBLE | {option: value})

    assert str(refused.value) == message


def test_an_unreadable_url_is_refused() -> None:
    with pytest.raises(SettingRefused, match="--url: expected the server's base URL"):
        Plan(**SENSIBLE | {"url": "http://[::1"})


def test_secrets_are_not_shown() -> None:
    shown = repr(Plan(**SENSIBLE, api_key="prefix_key"))

    assert "s3cret" not in shown
    assert "prefix_key" not in shown


@pytest.mark.parametrize("text", ["s3cret", "main:s3cret", ":s3cret"])
def test_a_secret_may_come_with_its_id(text: str) -> None:
    assert read_secret(text) == b"s3cret"


def test_the_signature_is_that_of_the_contract() -> None:
    # printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac s3cret
    assert signed_headers(b"s3cret", "1700000000", b'{"a":1}') == [
        (b"X-RedCloud-Timestamp", b"1700000000"),
        (b"X-RedCloud-Signature", b"1698a50bc74d1ff1db85c4e0a5297c2ad9fdba245d5737cdb789e4cc6e098940"),
    ]
