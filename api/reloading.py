"""SIGHUP: the signing secrets and the API keys are read again, from the file that LEDGER_ENV_FILE names, without a restart.

Nothing else is: where to listen or what to open is decided once. What makes no sense changes nothing.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import replace

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.access import ApiKey
from api.audit.acts import Act, Way
from api.keys import warnings_of
from api.service import Service
from api.settings import Settings, read_settings
from ledger.audit.entries import AuditEntry
from ledger.errors import LedgerError, SettingRefused
from ledger.signatures import Secret

SERVER = "server"
"""Who it is that reads its keys again: nobody can tell who sent a signal."""
READ_AGAIN = ("LEDGER_WEBHOOK_SECRETS", "LEDGER_ALLOW_UNSIGNED", "LEDGER_API_KEYS")
READ_ONCE = ("database_url", "host", "port", "partitions", "replay_window_s", "log_level")

logger = structlog.get_logger("api.reloading")


def reload_on_hangup(service: Service) -> None:
    """From now on SIGHUP reads them again. Without LEDGER_ENV_FILE there is nothing to read, and the signal ends us as ever."""
    if "LEDGER_ENV_FILE" not in os.environ or not hasattr(signal, "SIGHUP"):
        return
    under_way = set[asyncio.Task[None]]()

    def obey() -> None:
        task = loop.create_task(reload(service, os.environ))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, obey)


async def reload(service: Service, environ: Mapping[str, str]) -> None:
    """Reads them again; deliveries, requests, sessions and streams that come next meet the new ones."""
    for name in READ_AGAIN:
        if name in environ:
            logger.warning(
                "a setting in the environment outweighs the file, and stays as it was at the start", setting=name
            )
    try:
        read = _expect_guarded(read_settings(environ), service.settings)
    except SettingRefused as error:
        logger.warning("secrets and keys stay as they were: what is set now makes no sense", reason=str(error))
        await _note(service, "refused", {})
        return
    later = [name for name, changed in _counting_later(read, service.settings) if changed]
    if later:
        logger.warning("settings that changed as well count from the next start on", settings=later)
    told = _put_to_use(service, read)
    logger.info("secrets and keys were read again", **told)
    for warning in warnings_of(read.api_keys, service.access.now_us()):
        logger.warning(warning)
    await _note(service, "done", told)


def _expect_guarded(read: Settings, current: Settings) -> Settings:
    """SettingRefused for what would open a running server to everybody: a file that is being written may look so."""
    if current.api_keys and not read.api_keys:
        raise SettingRefused("LEDGER_API_KEYS: there is none any more; restart the server to run it without keys")
    if current.secrets is not None and read.secrets is None:
        raise SettingRefused("LEDGER_ALLOW_UNSIGNED: restart the server to run it unsigned")
    return read


def _counting_later(read: Settings, current: Settings) -> list[tuple[str, bool]]:
    return [(f"LEDGER_{name.upper()}", getattr(read, name) != getattr(current, name)) for name in READ_ONCE]


def _put_to_use(service: Service, read: Settings) -> dict[str, object]:
    """Puts secrets and keys to use; the names of what there is now, what is new and what counts no more. A changed one is both."""
    before, now = _named(service.settings), _named(read)
    service.settings = replace(service.settings, secrets=read.secrets, api_keys=read.api_keys)
    service.reception = replace(service.reception, secrets=read.secrets)
    service.access = replace(service.access, keys=read.api_keys)
    return {
        "secrets": [secret.id for secret in read.secrets or ()],
        "keys": [key.name for key in read.api_keys],
        "added": sorted(name for each, name in now.items() if each not in before),
        "removed": sorted(name for each, name in before.items() if each not in now),
    }


def _named(settings: Settings) -> dict[Secret | ApiKey, str]:
    """Every secret and key, and what to call it."""
    named: dict[Secret | ApiKey, str] = {secret: f"secret {secret.id}" for secret in settings.secrets or ()}
    return named | {key: f"key {key.name}" for key in settings.api_keys}


async def _note(service: Service, outcome: str, result: dict[str, object]) -> None:
    entry = AuditEntry(
        service.now_us(), SERVER, Way.SIGNAL.value, Act.RELOAD_KEYS.value, outcome=outcome, result=result
    )
    try:
        await service.record(entry)
    except (LedgerError, SQLAlchemyError) as error:
        logger.warning("the audit trail does not know that keys were read again", error=type(error).__name__)
