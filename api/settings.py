"""Settings: what the environment (or the file named by LEDGER_ENV_FILE) says, read once, checked, and then frozen.

A setting that makes no sense is refused with one line that names it and never shows a secret.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from starlette.config import Config

from api.access import ApiKey
from api.keys import NAME, read_keys
from ledger.errors import SettingRefused
from ledger.signatures import REPLAY_WINDOW_S_DEFAULT, Secret
from ledger.store.database import parse_database_url
from ledger.store.schema import PARTITIONS_MAX

DATABASE_URL_DEFAULT = "sqlite:///ledger.db"
PORT_MAX = 65_535
REPLAY_WINDOW_S_MAX = 10 * 365 * 24 * 60 * 60
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = {"auto": None, "json": True, "text": False}

SETTINGS = (
    "LEDGER_ALLOW_UNSIGNED",
    "LEDGER_API_KEYS",
    "LEDGER_DATABASE_URL",
    "LEDGER_ENV_FILE",
    "LEDGER_HOST",
    "LEDGER_LOG_FORMAT",
    "LEDGER_LOG_LEVEL",
    "LEDGER_PARTITIONS",
    "LEDGER_PORT",
    "LEDGER_REPLAY_WINDOW_S",
    "LEDGER_WEBHOOK_SECRETS",
)
"""Every name that is read here; a name that only looks like one of them is told at the start."""

T = TypeVar("T")

_EXPORT = re.compile(r"\Aexport\s+")
_ENV_LINE = re.compile(r"(?:#.*|(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=.*)?", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. `secrets` is None where signing is switched off at the provider.

    `log_json` is None where it depends on who reads: a terminal gets text, everything else JSON.
    """

    database_url: str = DATABASE_URL_DEFAULT
    secrets: tuple[Secret, ...] | None = field(default=(), repr=False)
    api_keys: tuple[ApiKey, ...] = field(default=(), repr=False)
    host: str = "127.0.0.1"
    port: int = 8080
    partitions: int | None = None
    replay_window_s: int = REPLAY_WINDOW_S_DEFAULT
    log_level: str = "info"
    log_json: bool | None = None


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """All settings, for a server. SettingRefused names the first one that makes no sense."""
    config = _config(os.environ if environ is None else environ)
    return Settings(
        database_url=_read(config, "LEDGER_DATABASE_URL", _database_url, DATABASE_URL_DEFAULT),
        secrets=_secrets(config),
        api_keys=_read(config, "LEDGER_API_KEYS", _api_keys, ""),
        host=_read(config, "LEDGER_HOST", _not_empty, "127.0.0.1"),
        port=_read(config, "LEDGER_PORT", _whole_number(0, PORT_MAX), "8080"),
        partitions=_read(config, "LEDGER_PARTITIONS", _partitions, ""),
        replay_window_s=_read(
            config, "LEDGER_REPLAY_WINDOW_S", _whole_number(1, REPLAY_WINDOW_S_MAX), str(REPLAY_WINDOW_S_DEFAULT)
        ),
        log_level=_read(config, "LEDGER_LOG_LEVEL", _log_level, "info"),
        log_json=_read(config, "LEDGER_LOG_FORMAT", _log_format, "auto"),
    )


def unknown_settings(environ: Mapping[str, str] | None = None) -> list[str]:
    """What to say of each LEDGER_… name in the environment or the file that is no setting, with the closest one that is."""
    environ = os.environ if environ is None else environ
    names = {*environ, *_config(environ).file_values}
    said = []
    for name in sorted(name for name in names if name.startswith("LEDGER_") and name not in SETTINGS):
        closest = difflib.get_close_matches(name, SETTINGS, 1)
        meant = f"did you mean {closest[0]}?" if closest else f"the settings are {', '.join(SETTINGS)}"
        said.append(f"{name[:64]} is set, but is no setting and changes nothing: {meant}")
    return said


def read_database_url(environ: Mapping[str, str] | None = None) -> str:
    """The one setting that commands need which only read."""
    config = _config(os.environ if environ is None else environ)
    return _read(config, "LEDGER_DATABASE_URL", _database_url, DATABASE_URL_DEFAULT)


def read_log_settings(environ: Mapping[str, str] | None = None) -> tuple[str, bool | None]:
    """The log level, and whether to write JSON (None: where nobody sits at a terminal), for commands that run for long."""
    config = _config(os.environ if environ is None else environ)
    level = _read(config, "LEDGER_LOG_LEVEL", _log_level, "info")
    return level, _read(config, "LEDGER_LOG_FORMAT", _log_format, "auto")


def read_otel_settings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What is set of OpenTelemetry's own settings (OTEL_…), by name."""
    given = os.environ if environ is None else environ
    asked = {**_config(given).file_values, **given}
    return {name: value.strip() for name, value in asked.items() if name.startswith("OTEL_")}


def _config(environ: Mapping[str, str]) -> Config:
    file = environ.get("LEDGER_ENV_FILE")
    if file is not None and not _is_file(file):
        raise SettingRefused(f"LEDGER_ENV_FILE: there is no file {file!r}")
    try:
        config = Config(file, environ=environ)
        _expect_assignments(file)
    except OSError as error:
        raise SettingRefused(f"LEDGER_ENV_FILE: {file!r} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SettingRefused(f"LEDGER_ENV_FILE: {file!r} is not UTF-8") from None
    config.file_values = {_EXPORT.sub("", name): value for name, value in config.file_values.items()}
    return config


def _expect_assignments(file: str | None) -> None:
    """SettingRefused for the first line that would be passed over: a mistyped one could leave reading open."""
    if file is None:
        return
    with Path(file).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if _ENV_LINE.fullmatch(line.strip()) is None:  # not shown: there may be a secret in it
                raise SettingRefused(
                    f"LEDGER_ENV_FILE: {file!r}, line {number}: expected NAME=VALUE (or export NAME=VALUE), a comment after #,"
                    " or an empty line"
                )


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # a folder that we may not enter; NUL
        return False


def _read(config: Config, name: str, cast: Callable[[str], T], default: str) -> T:
    try:
        return cast(config(name, default=default).strip())
    except (ValueError, SettingRefused) as error:
        raise SettingRefused(f"{name}: {error}") from None


def _secrets(config: Config) -> tuple[Secret, ...] | None:
    unsigned = _read(config, "LEDGER_ALLOW_UNSIGNED", _switch, "0")
    secrets = _read(config, "LEDGER_WEBHOOK_SECRETS", _secret_list, "")
    if secrets and unsigned:
        raise SettingRefused(
            "LEDGER_ALLOW_UNSIGNED: it is 1 although LEDGER_WEBHOOK_SECRETS is set; unset one of the two"
        )
    if not secrets and not unsigned:
        raise SettingRefused(
            "LEDGER_WEBHOOK_SECRETS: at least one id:secret is needed, the secret as Red Cloud shows it "
            "(or LEDGER_ALLOW_UNSIGNED=1 where signing is switched off at the provider)"
        )
    return None if unsigned else secrets


def _secret_list(text: str) -> tuple[Secret, ...]:
    entries = [entry.strip().partition(":") for entry in text.split(",")] if text else []
    for number, (name, _, key) in enumerate(entries, start=1):
        if NAME.fullmatch(name) is None or not key:
            raise ValueError(
                f"entry {number} is not id:secret with an id of letters, digits, '.', '_', '-' and a secret"
            )
    _expect_distinct([name for name, _, _ in entries], "secret id")
    return tuple(Secret(name, key.encode("utf-8", "surrogateescape")) for name, _, key in entries)


def _api_keys(text: str) -> tuple[ApiKey, ...]:
    keys = read_keys(text)
    _expect_distinct([key.name for key in keys], "key name")
    return keys


def _expect_distinct(names: list[str], what: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the {what} {twice!r} is there twice")


def _database_url(text: str) -> str:
    """With a link followed: SQLite has its write-ahead log beside what it leads to, and all else is to be there as well."""
    url = parse_database_url(text)
    if url.get_backend_name() == "sqlite" and (file := Path(url.database or "")).is_symlink():
        return url.set(database=str(file.resolve())).render_as_string(hide_password=False)
    return text


def _switch(text: str) -> bool:
    if text not in {"0", "1"}:
        raise ValueError(f"expected 0 or 1, got {text!r}")
    return text == "1"


def _partitions(text: str) -> int | None:
    return _whole_number(1, PARTITIONS_MAX)(text) if text else None


def _whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if _DIGITS.fullmatch(text) is None or not lowest <= int(text) <= highest:
            raise ValueError(f"expected a whole number from {lowest} to {highest}, got {text[:40]!r}")
        return int(text)

    return read


def _log_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"expected one of {', '.join(LOG_LEVELS)}, got {text!r}")
    return text.lower()


def _log_format(text: str) -> bool | None:
    if text not in LOG_FORMATS:
        raise ValueError(f"expected one of {', '.join(LOG_FORMATS)}, got {text!r}")
    return LOG_FORMATS[text]


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text
