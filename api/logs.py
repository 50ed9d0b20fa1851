"""Log output: ours, uvicorn's and every library's through one renderer, as JSON lines or for people, to stderr.

No line ever holds a body, a phone number, a key or a signature: nobody hands one over, and what comes from strangers inside
an error is cut off here. A control character is shown, so that one event is one line.
"""

import logging
import sys
import traceback
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from api.visible import visible

OURS = ("api", "projections", "ledger")
LEVEL_OF_LIBRARIES = logging.WARNING
VALUE_CHARACTERS_MAX = 2_000
PERSONAL_LINES = ("[parameters:", "DETAIL:", "CONTEXT:")
"""Lines that databases and their drivers add to an error, and that show stored values."""


def configure_logs(level: str, *, as_json: bool | None = None) -> None:
    """Sets up all log output of this process. `as_json` None: for people where stderr is a terminal, else JSON."""
    for_people = is_for_people(as_json)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_common(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_common(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _one_line,
                *_rendering(for_people=for_people),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=LEVEL_OF_LIBRARIES, force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())


def is_for_people(as_json: bool | None) -> bool:  # noqa: FBT001 - as a setting has it
    """Whether people read the log output."""
    return sys.stderr.isatty() if as_json is None else not as_json


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_traceback,
    ]


def _rendering(*, for_people: bool) -> list[Processor]:
    if for_people:
        return [_traceback_below, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)]
    return [structlog.processors.JSONRenderer(ensure_ascii=False)]


def _traceback_below(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if (lines := event.pop("traceback", None)) is not None:
        event["exception"] = "\n".join(f"  | {line}" for line in lines)
    return event


def _with_traceback(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The traceback as text, without what a database says of stored values."""
    exc_info = event.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if isinstance(error, BaseException):
        lines = "".join(traceback.format_exception(error)).splitlines()
        event["traceback"] = [line for line in lines if not line.startswith(PERSONAL_LINES)]
    return event


def _one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: _shown(value) for name, value in event.items()}


def _shown(value: Any) -> Any:  # noqa: ANN401 - whatever was logged
    match value:
        case str():
            return visible(value[:VALUE_CHARACTERS_MAX])
        case list():
            return [_shown(each) for each in value]
        case _:
            return value
