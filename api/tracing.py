"""Whether anybody collects traces. The standard settings of OpenTelemetry decide; where nobody does, none of it is imported.

`api/traces.py` is what is then seen.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.settings import read_otel_settings
from ledger.errors import SettingRefused
from projections.spans import Spans, unseen

if TYPE_CHECKING:  # importing it imports OpenTelemetry
    from api.traces import Traces

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
EXPORTER = "OTEL_TRACES_EXPORTER"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
OTLP, CONSOLE, NONE = "otlp", "console", "none"
HTTP = "http/protobuf"

logger = logging.getLogger(__name__)


@contextmanager
def tracing(environ: Mapping[str, str] | None = None) -> Iterator["Traces | None"]:
    """What sees traces, or None where nobody asked for any; sent at the end. SettingRefused for what we cannot do."""
    settings = read_otel_settings(environ)
    exporter = exporter_asked_for(settings)
    traces = None if exporter is None else _traces(exporter, settings)
    try:
        yield traces
    finally:
        if traces is not None:
            traces.close()


def spans_of(traces: "Traces | None") -> Spans:
    """What the read models are watched by."""
    return unseen if traces is None else traces.stretch


def exporter_asked_for(settings: Mapping[str, str]) -> str | None:
    """`otlp` or `console`; None where no setting asks for traces."""
    exporter = settings.get(EXPORTER, "")
    is_asked = bool(exporter) or any(settings.get(name) for name in ENDPOINTS)
    if settings.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == NONE or not is_asked:
        return None
    if exporter not in ("", OTLP, CONSOLE):
        raise SettingRefused(f"{EXPORTER}: expected {OTLP}, {CONSOLE} or {NONE}, got {exporter[:40]!r}")
    protocol = next((settings[name] for name in PROTOCOLS if settings.get(name)), HTTP)
    if exporter != CONSOLE and protocol != HTTP:
        raise SettingRefused(f"{PROTOCOLS[1]}: traces are sent by {HTTP} alone, got {protocol[:40]!r}")
    return exporter or OTLP


def _traces(exporter: str, settings: Mapping[str, str]) -> "Traces | None":
    os.environ.update(settings)  # OpenTelemetry reads nothing else, and some may stand in the file of settings
    try:
        from api.traces import Traces, provider_of  # noqa: PLC0415 - only here, where it is wanted
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        logger.warning(
            "OTEL_… settings ask for traces, but the extra `otel` is not installed, so there are none;"
            " install .requirements-otel.lock"
        )
        return None
    return Traces(provider_of(exporter))
