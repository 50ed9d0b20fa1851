"""A setting that makes no sense stops the start with one line that names it, and that never shows a secret."""

import re
from pathlib import Path

import pytest

from api import settings as settings_module
from api.access import ApiKey, Scope, sha256_of
from api.service import Service
from api.settings import SETTINGS, Settings, read_database_url, read_settings, unknown_settings
from ledger.errors import SettingRefused
from ledger.signatures import Secret
from tests.api.running import running

GOOD = {"LEDGER_WEBHOOK_SECRETS": "main:whsec_hidden"}


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(SettingRefused) as refused:
        read_settings(environ)
    return str(refused.value)


def test_one_secret_is_all_that_must_be_set() -> None:
    assert read_settings(GOOD) == Settings(secrets=(Secret("main", b"whsec_hidden"),))


def test_everything_can_be_set() -> None:
    settings = read_settings(
        {
            "LEDGER_DATABASE_URL": "postgresql+psycopg://u:p@h/db",
            "LEDGER_WEBHOOK_SECRETS": "new:whsec_1, old:a:b=c",
            "LEDGER_API_KEYS": f"app:write:k1,eyes:read+admin:sha256:{sha256_of('k2').hex().upper()}",
            "LEDGER_HOST": "::",
            "LEDGER_PORT": "0",
            "LEDGER_PARTITIONS": "8",
            "LEDGER_REPLAY_WINDOW_S": "60",
            "LEDGER_LOG_LEVEL": "DEBUG",
            "LEDGER_LOG_FORMAT": "json",
        }
    )

    assert settings == Settings(
        database_url="postgresql+psycopg://u:p@h/db",
        secrets=(Secret("new", b"whsec_1"), Secret("old", b"a:b=c")),
        api_keys=(
            ApiKey("app", frozenset({Scope.WRITE}), sha256_of("k1")),
            ApiKey("eyes", frozenset({Scope.READ, Scope.ADMIN}), sha256_of("k2")),
        ),
        host="::",
        port=0,
        partitions=8,
        replay_window_s=60,
        log_level="debug",
        log_json=True,
    )


HIDDEN = "hidden"
REFUSED = [
    ("LEDGER_WEBHOOK_SECRETS", ""),
    ("LEDGER_WEBHOOK_SECRETS", "hidden"),
    ("LEDGER_WEBHOOK_SECRETS", "main:"),
    ("LEDGER_WEBHOOK_SECRETS", "main: "),
    ("LEDGER_WEBHOOK_SECRETS", ":hidden"),
    ("LEDGER_WEBHOOK_SECRETS", "a b:hidden"),
    ("LEDGER_WEBHOOK_SECRETS", "main:hidden,"),
    ("LEDGER_WEBHOOK_SECRETS", "main:hidden,main:hidden2"),
    ("LEDGER_API_KEYS", "hidden"),
    ("LEDGER_API_KEYS", "name:hidden"),
    ("LEDGER_API_KEYS", "name:hidden:read"),
    ("LEDGER_API_KEYS", "name:read:"),
    ("LEDGER_API_KEYS", "name:Read:hidden"),
    ("LEDGER_API_KEYS", "name:read,write:hidden"),
    ("LEDGER_API_KEYS", "name::hidden"),
    ("LEDGER_API_KEYS", "name:read:sha256:hidden"),
    ("LEDGER_API_KEYS", "name:read:sha256:"),
    ("LEDGER_API_KEYS", "a:read:hidden,a:write:hidden2"),
    ("LEDGER_DATABASE_URL", ""),
    ("LEDGER_DATABASE_URL", "ledger.db"),
    ("LEDGER_DATABASE_URL", "sqlite://"),
    ("LEDGER_DATABASE_URL", "sqlite:///:memory:"),
    ("LEDGER_DATABASE_URL", "mysql://u:hidden@h/db?password=hidden"),
    ("LEDGER_DATABASE_URL", "postgresql://u@h:hidden/db"),
    ("LEDGER_DATABASE_URL", "postgresql+asyncpg://u:hidden@h/db"),
    ("LEDGER_ALLOW_UNSIGNED", "yes"),
    ("LEDGER_ALLOW_UNSIGNED", "1"),
    ("LEDGER_HOST", ""),
    ("LEDGER_PORT", "65536"),
    ("LEDGER_PORT", "-1"),
    ("LEDGER_PORT", "８０"),
    ("LEDGER_PORT", "0" * 25 + "99999"),
    ("LEDGER_PORT", "9" * 5_000),
    ("LEDGER_PARTITIONS", "0"),
    ("LEDGER_PARTITIONS", "1025"),
    ("LEDGER_PARTITIONS", "two"),
    ("LEDGER_REPLAY_WINDOW_S", "0"),
    ("LEDGER_REPLAY_WINDOW_S", "1.5"),
    ("LEDGER_LOG_LEVEL", "loud"),
    ("LEDGER_LOG_FORMAT", "xml"),
    ("LEDGER_ENV_FILE", "/nowhere"),
    ("LEDGER_ENV_FILE", "/"),
    ("LEDGER_ENV_FILE", "a\0b"),
]


@pytest.mark.parametrize("name, value", REFUSED, ids=[f"{name}={value[:60]!r}" for name, value in REFUSED])
def test_what_makes_no_sense_is_refused_in_one_line_that_names_the_setting(name: str, value: str) -> None:
    line = refusal(GOOD | {name: value})

    assert line.startswith(f"{name}: ")
    assert "\n" not in line
    assert len(line) < 300
    assert HIDDEN not in line


def test_the_line_says_what_was_expected_and_what_was_found() -> None:
    line = refusal(GOOD | {"LEDGER_PORT": "http"})

    assert line == "LEDGER_PORT: expected a whole number from 0 to 65535, got 'http'"


def test_without_a_secret_the_line_says_what_to_set() -> None:
    assert refusal({}).startswith("LEDGER_WEBHOOK_SECRETS: at least one id:secret is needed")


def test_signing_can_be_switched_off_on_purpose_alone() -> None:
    assert read_settings({"LEDGER_ALLOW_UNSIGNED": "1"}).secrets is None


def test_nothing_secret_is_shown_by_the_settings_themselves() -> None:
    settings = read_settings(GOOD | {"LEDGER_API_KEYS": "a:read:hidden_key"})

    assert HIDDEN not in repr(settings)
    assert HIDDEN not in str(settings)


def test_a_file_gives_what_the_environment_does_not(tmp_path: Path) -> None:
    file = tmp_path / "ledger.env"
    file.write_text("# a comment\nLEDGER_PORT = 1\nLEDGER_HOST='::1'\nLEDGER_WEBHOOK_SECRETS=\"main:a=b\"\n")

    settings = read_settings({"LEDGER_ENV_FILE": str(file), "LEDGER_PORT": "2"})

    assert (settings.port, settings.host, settings.secrets) == (2, "::1", (Secret("main", b"a=b"),))


def test_a_file_for_a_shell_is_read_as_the_shell_does(tmp_path: Path) -> None:
    file = tmp_path / "ledger.env"
    file.write_text("export LEDGER_WEBHOOK_SECRETS=main:a\n\n  export\tLEDGER_API_KEYS='a:read:k'\nexport_not=1\n")

    settings = read_settings({"LEDGER_ENV_FILE": str(file)})

    assert (settings.secrets, [key.name for key in settings.api_keys]) == ((Secret("main", b"a"),), ["a"])


@pytest.mark.parametrize(
    "line",
    ["LEDGER_API_KEYS:a:read:hidden", "set LEDGER_API_KEYS=a:read:hidden", "hidden", "\ufeffA=hidden", "=hidden"],
)
def test_a_line_of_the_file_that_would_be_passed_over_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "ledger.env"
    file.write_text(f"{line}\n" if line[0] == "\ufeff" else f"# first\n{line}\n", encoding="utf-8")

    said = refusal(GOOD | {"LEDGER_ENV_FILE": str(file)})

    number = 1 if line[0] == "\ufeff" else 2
    assert said.startswith(f"LEDGER_ENV_FILE: {str(file)!r}, line {number}: expected NAME=VALUE")
    assert HIDDEN not in said


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.env"
    file.write_bytes(b"LEDGER_PORT=\xff\xfe")

    assert refusal({"LEDGER_ENV_FILE": str(file)}) == f"LEDGER_ENV_FILE: {str(file)!r} is not UTF-8"


def test_a_secret_of_other_bytes_is_taken_as_it_is() -> None:
    assert read_settings({"LEDGER_WEBHOOK_SECRETS": "main:\udcff\udcfe"}).secrets == (Secret("main", b"\xff\xfe"),)


def test_a_name_that_is_no_setting_is_told_with_the_closest_that_is(tmp_path: Path) -> None:
    file = tmp_path / "ledger.env"
    file.write_text("LEDGER_WEBHOOK_SECRET=main:hidden\n")

    told = unknown_settings(
        {"LEDGER_ENV_FILE": str(file), "LEDGER_APIKEYS": "hidden", "LEDGER_OF_THE_BIKE_SHED": "1", "HOME": "/"}
    )

    begin = "is set, but is no setting and changes nothing"
    assert told == [
        f"LEDGER_APIKEYS {begin}: did you mean LEDGER_API_KEYS?",
        f"LEDGER_OF_THE_BIKE_SHED {begin}: the settings are {', '.join(SETTINGS)}",
        f"LEDGER_WEBHOOK_SECRET {begin}: did you mean LEDGER_WEBHOOK_SECRETS?",
    ]


def test_every_name_that_is_read_is_known_as_a_setting() -> None:
    source = Path(settings_module.__file__).read_text()

    assert set(re.findall(r'"(LEDGER_[A-Z_]+)"', source.partition("\n@dataclass")[2])) == set(SETTINGS)
    assert unknown_settings(dict.fromkeys(SETTINGS[:3], "")) == []


def test_commands_that_only_read_need_no_secret() -> None:
    assert read_database_url({}) == "sqlite:///ledger.db"


def test_the_number_of_partitions_cannot_be_changed_later(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'ledger.db'}", secrets=None, partitions=2)
    with running(settings):
        pass

    with pytest.raises(SettingRefused) as refused:
        Service.open(Settings(database_url=settings.database_url, secrets=None, partitions=3))
    assert str(refused.value) == "LEDGER_PARTITIONS is 3, but this ledger was created with 2, which never changes"
