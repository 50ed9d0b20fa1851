"""`ledger simulate` as a command: options in, data on stdout, exit status 0, 1 or 2."""

import asyncio
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import typer
from typer.testing import CliRunner, Result

from api.command_line.simulate import simulate
from api.simulator.audit import DIFFERENCES_MAX
from ledger.clock import now_us
from ledger.times import read_rfc3339
from tests import forks
from tests.simulator.receiver import LOST, SECRET, Receiver, receiving

APP = typer.Typer()
APP.command()(simulate)


@contextmanager
def receiver_in_a_thread() -> Iterator[Receiver]:
    """The command runs an event loop of its own, so the receiver has one in another thread."""
    ready, done = threading.Event(), threading.Event()
    found: list[Receiver] = []

    async def serve() -> None:
        async with receiving() as receiver:
            found.append(receiver)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield found[0]
    finally:
        done.set()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiver_in_a_thread() as running:
        yield running


def run(receiver: Receiver, *more: str, secret: str = SECRET) -> Result:
    options = ["--url", receiver.url, "--secret", secret, "--messages", "20", "--speed-up", "inf"]
    return CliRunner().invoke(APP, [*options, *more])


def test_a_run_that_went_well_exits_with_0(receiver: Receiver) -> None:
    result = run(receiver, "--seed", "1", "--shuffle", "--duplicates", "0.2", "--drop", "0.05", "--inbound", "0.2")

    assert "Everything that was acknowledged is there, exactly once: yes (20 messages)" in result.stdout
    assert result.exit_code == 0


def test_json_goes_to_stdout_alone(receiver: Receiver) -> None:
    result = run(receiver, "--seed", "1", "--json", "--rate", "10000", "--sends")

    summary = json.loads(result.stdout)
    assert (summary["fine"], summary["seed"], summary["messages"]) == (True, 1, 20)
    assert summary["recorded"] == summary["facts"]
    assert summary["sends"] == {"recorded": len(receiver.sends), "refused": 0}
    assert summary["audit"] == {
        "verdict": "yes",
        "heldExactlyOnce": True,
        "reason": None,
        "messages": 20,
        "neverAcknowledged": {"missing": 0, "held": 0},
        "differenceCount": 0,
        "differences": [],
    }


def test_something_wrong_in_the_ledger_exits_with_1(receiver: Receiver) -> None:
    receiver.mishap = lambda facts: facts[1:]

    result = run(receiver)
    assert "Everything that was acknowledged is there, exactly once: no (" in result.stdout
    assert "missing, though acknowledged" in result.stdout
    assert result.exit_code == 1


def test_refused_deliveries_exit_with_1(receiver: Receiver) -> None:
    result = run(receiver, "--json", "--no-audit", secret="main:other")

    assert json.loads(result.stdout)["refused"] > 0
    assert result.exit_code == 1


def test_what_was_never_acknowledged_is_told_apart_from_what_was(receiver: Receiver) -> None:
    receiver.script.extend([503] * (5 * 52 - 1))  # the very last attempt is answered 2xx

    result = run(receiver, "--seed", "1")
    refuses_everything = run(receiver, "--seed", "1", secret="main:other")

    assert "Everything that was acknowledged is there, exactly once: yes (20 messages)" in result.stdout
    assert "five times: 51 of the facts; 51 are not there, 0 are.\n" in result.stdout
    assert "not checked: the server acknowledged nothing" in refuses_everything.stdout
    assert (result.exit_code, refuses_everything.exit_code) == (1, 1)


def test_differences_that_are_not_listed_are_counted(receiver: Receiver) -> None:
    receiver.mishap = lambda _: []

    result = run(receiver, "--seed", "1")

    (count,) = re.findall(r"exactly once: no \((\d+) differences\)", result.stdout)
    assert f"\n  and {int(count) - DIFFERENCES_MAX} more\n" in result.stdout


def test_attempts_without_an_answer_are_told_in_words_on_one_line(receiver: Receiver) -> None:
    receiver.script.extend([LOST, 503] * 20)

    result = run(receiver, "--seed", "1")

    (answers,) = [line for line in result.stdout.splitlines() if line.startswith("answers")]
    assert "20 attempts without an answer" in answers
    assert "20 times 503" in answers


def test_a_wrong_option_exits_with_2_and_names_itself() -> None:
    options = ["--url", "http://127.0.0.1:1", "--secret", "s", "--messages", "1", "--drop", "2"]

    ended = forks.run("simulate", *options, environment=os.environ)
    assert ended == (2, b"", b"ledger: --drop: expected a share from 0 to 1, found 2.0\n")


@pytest.mark.parametrize("missing", ["--url", "--secret", "--messages"])
def test_a_missing_option_exits_with_2(missing: str) -> None:
    options = {"--url": "http://127.0.0.1:1", "--secret": "s", "--messages": "1"}
    del options[missing]

    result = CliRunner().invoke(APP, [word for option in options.items() for word in option])
    assert missing in result.stderr
    assert result.exit_code == 2


def test_without_a_seed_every_run_is_another(receiver: Receiver) -> None:
    first, second = (json.loads(run(receiver, "--json").stdout) for _ in range(2))

    assert first["seed"] != second["seed"]
    assert second["duplicate"] == 0


def test_without_a_seed_or_a_start_it_happens_about_now(receiver: Receiver) -> None:
    started = {}
    for name, options in {
        "unseeded": (),
        "seeded": ("--seed", "1"),
        "asked": ("--start", "2025-01-01T00:00:00Z"),
    }.items():
        started[name] = json.loads(run(receiver, "--json", *options).stdout)["start"]

    began_us = read_rfc3339(started.pop("unseeded")) or 0
    assert started == {"seeded": "2026-01-01T00:00:00Z", "asked": "2025-01-01T00:00:00Z"}
    assert now_us() - 120_000_000 < began_us < now_us()


def test_the_key_is_given_as_an_option(receiver: Receiver) -> None:
    receiver.key = "prefix_key"

    assert "exactly once: yes" in run(receiver, "--sends", "--api-key", "prefix_key").stdout


def test_a_ledger_that_may_not_be_read_is_said_to_be_unchecked(receiver: Receiver) -> None:
    receiver.key = "prefix_key"

    result = run(receiver)
    assert "exactly once: not checked: reading histories needs an API key" in result.stdout
    assert result.exit_code == 0


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_early_with_the_summary(receiver: Receiver, signal_number: signal.Signals) -> None:
    receiver.on_webhook = lambda: os.kill(os.getpid(), signal_number) if len(receiver.paths) == 10 else None

    result = run(receiver, "--json", "--rate", "50")
    summary = json.loads(result.stdout)
    assert summary["interrupted"]
    assert summary["recorded"] == summary["sent"] < summary["facts"]
    assert result.exit_code == 0


def test_help_explains_every_option() -> None:
    result = CliRunner().invoke(APP, ["--help"], terminal_width=200)

    assert result.exit_code == 0
    for option in (
        "--url",
        "--secret",
        "--seed",
        "--shuffle",
        "--duplicates",
        "--drop",
        "--inbound",
        "--rate",
        "--json",
    ):
        assert option in result.stdout


def test_where_nobody_listens_or_the_secret_is_wrong_it_says_so(receiver: Receiver) -> None:
    wrong = run(receiver, "--no-audit", secret="main:another")
    options = ["--url", "http://127.0.0.1:9", "--secret", SECRET, "--messages", "5", "--speed-up", "inf", "--no-audit"]
    nobody = CliRunner().invoke(APP, options)

    assert "No answer from http://127.0.0.1:9: connection refused. Is the server running" in nobody.stdout
    assert "is --secret one of the server's LEDGER_WEBHOOK_SECRETS?" in wrong.stdout
    assert " times 401" in wrong.stdout
    assert (nobody.exit_code, wrong.exit_code) == (1, 1)
