"""What holds for every command: help, wrong usage, the unexpected."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
import typer

from api.command_line import endings
from api.command_line.program import commands, program
from api.program_version import program_version
from api.settings import SETTINGS
from ledger.errors import NotFound, SettingRefused, StoreUnavailable, UnreadableEvent
from ledger.ledger import Ledger
from ledger.verification import verify
from tests import forks
from tests.builders import body
from tests.command_line.conftest import Run, record

COMMANDS = sorted(name for name in commands() if name != "quarantine")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_its_exit_statuses(run: Run, name: str) -> None:
    ended = run(name, "--help")

    assert ended.status == 0
    assert "Exit status: 0" in " ".join(ended.stdout.split())


@pytest.mark.parametrize("arguments", [["unknown"], ["history"], ["history", "msg_1", "--wrong"], ["verify", "extra"]])
def test_wrong_usage_is_status_2_and_says_so_on_stderr(run: Run, arguments: list[str]) -> None:
    ended = run(*arguments)

    assert (ended.status, ended.stdout) == (2, "")
    assert "Usage: ledger" in ended.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["a", "--until", "2020-01-01"], "--until 2020-01-01 is over already"),
        (["a:b"], "the name 'a:b' is not"),
        (["a", "--scope", "foo"], "Invalid value for '--scope': 'foo' is not one of read, masked, write, admin"),
    ],
)
def test_no_key_is_made_that_would_open_nothing(run: Run, arguments: list[str], said: str) -> None:
    ended = run("key", *arguments)

    assert (ended.status, ended.stdout) == (2, "")
    assert said in " ".join(ended.stderr.split())


def test_the_unexpected_is_one_line_and_a_hint_how_to_see_more(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record(f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setattr("ledger.ledger.Ledger.whole_history", lambda *_arguments, **_options: [] + 1)  # type: ignore[operator]

    ended = run("history", "msg_1")
    debugged = run("history", "msg_1", LEDGER_LOG_LEVEL="debug")

    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith("ledger: something unexpected went wrong: TypeError: ")
    assert len(ended.stderr.splitlines()) == 1
    assert "Traceback" in debugged.stderr


@pytest.mark.parametrize(
    "command", ["status", "history", "explain", "conversation", "messages --reference", "conversations --number"]
)
def test_an_argument_that_is_no_text_is_refused_in_a_line(run: Run, tmp_path: Path, command: str) -> None:
    record(f"sqlite:///{tmp_path}/ledger.db")

    ended = run(*command.split(), "msg_\udcff")

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr == "ledger: 'msg_\\udcff' is not UTF-8 text: copy it again\n"


@pytest.mark.parametrize(
    "error, status",
    [
        (NotFound("x"), 1),
        (UnreadableEvent("x"), 1),
        (SettingRefused("x"), 2),
        (StoreUnavailable("x"), 2),
        (OSError(), 1),
        (OSError(errno.ENOSPC, "No space left on device"), 2),
    ],
)
def test_an_error_s_family_decides_the_exit_status(error: Exception, status: int) -> None:
    assert endings.status_of(error) == status


@pytest.mark.parametrize("closed", [0, 1, 2])
@pytest.mark.parametrize("arguments", [["status", "msg_2"], ["verify"]])
def test_a_command_that_is_started_without_one_of_its_streams_ends_as_ever(
    tmp_path: Path, closed: int, arguments: list[str]
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    record(url, body("message.sent", "msg_1", sequence=1))
    environment = forks.environment(LEDGER_DATABASE_URL=url)

    ended = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}>&-', "sh", sys.executable, "-m", "api.command_line", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    told = ended.stdout + ended.stderr
    assert ended.returncode == (0 if arguments == ["verify"] else 1)
    assert "unexpected" not in told
    assert "Traceback" not in told
    with Ledger.open_existing(url) as ledger:
        assert verify(ledger).findings == ()


BEGIN = "is set, but is no setting and changes nothing: did you mean"


@pytest.mark.parametrize(
    "arguments, setting, meant, error",
    [
        (["serve"], "LEDGER_WEBHOK_SECRETS", "LEDGER_WEBHOOK_SECRETS", "LEDGER_WEBHOOK_SECRETS: at least one"),
        (["status", "msg_1"], "LEDGER_DATABSE_URL", "LEDGER_DATABASE_URL", "LEDGER_DATABASE_URL: there is no ledger"),
    ],
)
def test_where_a_setting_is_refused_names_that_are_none_come_before_the_error(
    run: Run, arguments: list[str], setting: str, meant: str, error: str
) -> None:
    ended = run(*arguments, **{setting: "main:abc", "LEDGER_LOG_FORMAT": "text"})

    told, refused = ended.stderr.splitlines()
    assert told == f"ledger: {setting} {BEGIN} {meant}?"
    assert refused.startswith(f"ledger: {error}")
    assert ended.status == 2


def test_no_option_is_read_from_a_name_that_is_told_to_be_no_setting() -> None:
    waiting, read = [typer.main.get_command(program())], set[str]()
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        named = [parameter.envvar or () for parameter in command.params]
        read |= {name for each in named for name in ([each] if isinstance(each, str) else each)}

    assert read <= set(SETTINGS)


def test_a_start_that_programs_read_tells_names_that_are_no_settings_in_its_log(run: Run) -> None:
    ended = run("serve", LEDGER_WEBHOK_SECRETS="main:abc")

    assert [json.loads(line)["level"] for line in ended.stderr.splitlines()] == ["warning", "critical"]
    assert f"LEDGER_WEBHOK_SECRETS {BEGIN} LEDGER_WEBHOOK_SECRETS?" in ended.stderr


def test_a_message_that_is_not_there_may_be_in_the_ledger_that_was_meant(run: Run, tmp_path: Path) -> None:
    record(f"sqlite:///{tmp_path}/ledger.db", body("message.queued", "msg_1", sequence=1))

    missing = run("status", "msg_2", LEDGER_DATABSE_URL="sqlite:///other.db")
    found = run("status", "msg_1", LEDGER_DATABSE_URL="sqlite:///other.db")

    assert missing.stderr.splitlines()[0] == f"ledger: LEDGER_DATABSE_URL {BEGIN} LEDGER_DATABASE_URL?"
    assert (missing.status, found.status, found.stderr) == (1, 0, "")


def test_a_reader_that_goes_away_is_no_error_to_speak_of(tmp_path: Path) -> None:
    record(f"sqlite:///{tmp_path}/ledger.db", *(body("message.queued", f"msg_{n}", sequence=1) for n in range(300)))
    arguments = ["tail", "--no-follow", "-n", "300", "--json"]
    with forks.start(*arguments, folder=tmp_path, environment=forks.environment(), stdout=PIPE, stderr=PIPE) as process:
        process.stdout.readline()
        process.stdout.close()

        assert process.stderr.read() == b""


def test_the_version_is_told(run: Run) -> None:
    assert run("--version").stdout == f"{program_version()}\n"


@pytest.mark.parametrize(
    "shell, words, offered",
    [
        ("bash", "ledger ex", "explain"),
        ("bash", "ledger rebuild in", "inbound-conversations"),
        ("bash", "ledger messages --status del", "delivered"),
        ("bash", "ledger quarantine re", "replay"),
        ("zsh", "ledger stu", '"stuck"'),
        ("fish", "ledger stu", "stuck"),
    ],
)
def test_a_shell_completes_commands_and_what_they_take(run: Run, shell: str, words: str, offered: str) -> None:
    asked = {
        "bash": {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": words},
        "fish": {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    ended = run(_LEDGER_COMPLETE=f"complete_{shell}", **asked[shell])

    assert offered in ended.stdout


def test_the_script_for_completion_can_be_shown(run: Run) -> None:
    assert (
        "_LEDGER_COMPLETE" in run("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").stdout
    )
