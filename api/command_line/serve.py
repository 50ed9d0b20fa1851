"""`ledger serve`: the server. Everything that it says goes to stderr, as log lines or, in a terminal, for people."""

import structlog
from rich.console import Console
from rich.table import Table

from api.command_line.lasting import lasting
from api.command_line.opening import file_of
from api.command_line.terminal import called_as, to_stderr
from api.keys import warnings_of
from api.reloading import reload_on_hangup
from api.service import Service
from api.serving.one_server import claimed
from api.serving.open_files import raise_open_files
from api.serving.server import listening, run_server, server_of, url_of
from api.serving.supervisor import tell_that_it_listens
from api.serving.workers import workers_of
from api.settings import Settings, read_settings, unknown_settings
from api.tracing import tracing
from api.verifying import verification_warnings
from ledger.clock import now_us
from ledger.store.schema import shown
from projections.setting_aside import set_damaged_aside

NEW_TRAIL = (
    "an audit trail begins, although the log has events: if there was one, who saw them is no longer known; stop, and put"
    " it back (docs/RUNBOOK.md)"
)

LOST_AT_THE_END = (
    "stopped; the ledger's file is gone from its path, and what was acknowledged is not there: put it back, or restore it"
    " from a backup (docs/RUNBOOK.md)"
)

logger = structlog.get_logger("api.serve")


def serve() -> None:
    """Receive webhooks and answer questions, until SIGTERM or Ctrl-C.

    Settings come from the environment, or from the file that LEDGER_ENV_FILE
    names. A new ledger is created where there is none. On SIGTERM or Ctrl-C
    the server takes nothing new, finishes what is under way, and ends. On
    SIGHUP it reads the secrets and the keys in LEDGER_ENV_FILE again.

    For example:

    $ LEDGER_WEBHOOK_SECRETS=main:whsec_… ledger serve

    $ LEDGER_ENV_FILE=/etc/ledger.env ledger serve

    Exit status: 0 ended in order; 2 a setting makes no sense, the database
    cannot be used, another server has this embedded ledger, or a process that
    commits or projects for this one has ended.
    """
    with lasting():
        _serve(read_settings())


def _serve(settings: Settings) -> None:
    raise_open_files()
    with (
        workers_of(settings.database_url) as workers,
        tracing() as traces,
        claimed(file_of(settings.database_url)),
        listening(settings.host, settings.port) as listener,
    ):
        warn(settings)
        set_damaged_aside(settings.database_url)
        service = Service.open(settings, traces, workers)
        run_server(server_of(service, lambda: _announce(service, url_of(listener))), listener)
    if service.ledger.database.is_there:
        logger.info("stopped; everything that was acknowledged is on disk")
    else:
        logger.error(LOST_AT_THE_END, file=str(service.ledger.database.file))


def warn(settings: Settings) -> None:
    """Says what is open that should be closed before anybody relies on it, and what was probably spelled wrongly."""
    for said in unknown_settings():
        logger.warning(said)
    if settings.secrets is None:
        logger.warning(
            "LEDGER_ALLOW_UNSIGNED=1: whoever reaches this port can record webhooks; nothing proves who sent them"
        )
    if not settings.api_keys:
        logger.warning(
            "LEDGER_API_KEYS is not set: reading works without a key, and from this machine alone; set keys before a proxy"
            " on this machine forwards to it, because what a proxy forwards comes from this machine too"
        )
    for warning in warnings_of(settings.api_keys, now_us()):
        logger.warning(warning)


def _announce(service: Service, url: str) -> None:
    """Where it listens; in a terminal also what to do next. Programs look for the line with `url`."""
    reload_on_hangup(service)
    if service.trail.is_new and any(head.position for head in service.ledger.heads()):
        logger.warning(NEW_TRAIL, file=str(service.trail.database.file))
    for warning in verification_warnings(service.trail):
        logger.warning(warning)
    logger.info(
        "listening",
        url=url,
        host=service.settings.host,  # the URL of one that listens everywhere is of this machine
        database=shown(service.ledger.database),
        partitions=service.ledger.partitions,
    )
    tell_that_it_listens()
    if service.settings.log_json is None and (console := to_stderr()).is_terminal:
        _advise(console, service.settings, url)


def _advise(console: Console, settings: Settings, url: str) -> None:
    name, program = settings.secrets[0].id if settings.secrets else "any", called_as()
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("Red Cloud delivers to", f"POST {url}/webhooks/red-cloud")
    table.add_row("Look at it", f"{url}/console")
    table.add_row("Is it well?", f"curl -s {url}/readyz")
    table.add_row("Try it", f"{program} simulate --url {url} --secret {name}:<its secret> --messages 100")
    table.add_row("One message", f"{program} explain <messageId>")
    table.add_row("Stop", "Ctrl-C: finishes what is under way first")
    console.print(table)
