"""Connections to PostgreSQL: a commit waits for the disk, and nothing waits for ever."""

import logging
import select
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError

from ledger.errors import StoreUnavailable

CONNECTIONS_MAX = 16
READERS_KEPT = 4
"""Of those who only read, so many connections stay open. Of those who write all do: to connect costs more than a commit."""
TIMEOUTS_MS = {"statement_timeout": 60_000, "lock_timeout": 10_000, "idle_in_transaction_session_timeout": 60_000}
WRITER_IDLE_MS_MAX = 8_000
"""Shorter than others wait for a lock: a server that is stopped in the middle of an append or a projection (a frozen machine,
SIGSTOP) loses its transaction before they give up waiting for what it has locked."""

CONNECT_TIMEOUT_S = 5
KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
WARNED = "warned"
UNREACHABLE = ("connection failed", "connection timeout expired", "could not translate host name")
TOO_MANY_CONNECTIONS = ("too many connections", "remaining connection slots", "too many clients")
"""What a server says to who connects."""

logger = logging.getLogger(__name__)


def postgres_engine(url: URL, *, writes: bool, durable: bool) -> Engine:
    """The engine of those who write or of those who only read; `durable` is whether a commit waits for the disk."""
    settings = TIMEOUTS_MS | {
        "synchronous_commit": "on" if durable else "off",
        # Whatever the database prefers: at a stricter level a head that moved while an append waited for it is a conflict.
        "default_transaction_isolation": r"read\ committed" if writes else r"repeatable\ read",
    }
    if writes:
        settings |= {"idle_in_transaction_session_timeout": WRITER_IDLE_MS_MAX}
        # A prepared statement's plan is made once. Of a young table it would be to read all of it, still when that is large.
        settings |= {"enable_seqscan": "off", "jit": "off"}
    else:
        settings |= {"default_transaction_read_only": "on"}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    connect_args: dict[str, object] = {"options": options, "connect_timeout": CONNECT_TIMEOUT_S, **KEEPALIVES}
    if "application_name" not in url.query:
        connect_args["application_name"] = "ledger"
    if "target_session_attrs" not in url.query:
        connect_args |= _to_the_primary(url, writes=writes)
    engine = create_engine(
        url,
        hide_parameters=True,  # values are personal data, and errors are shown
        pool_size=CONNECTIONS_MAX if writes else READERS_KEPT,
        max_overflow=0 if writes else CONNECTIONS_MAX - READERS_KEPT,
        pool_timeout=CONNECT_TIMEOUT_S,
        connect_args=connect_args,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:  # noqa: ANN401 - DBAPI connections and pool records have no type
        _watch_warnings(connection, record.info)
        if durable:
            _expect_durable(connection)

    # A writer finds out by itself, and tries again; a reader must not fail because the server was restarted since.
    if not writes:
        event.listen(engine, "checkout", _expect_silent)
    return engine


def _to_the_primary(url: URL, *, writes: bool) -> dict[str, object]:
    """After a failover the host that is asked first may be a standby, and a pool would keep its connections to it for ever.

    Who reads must see what was written a moment ago as well; where there is one host alone, it may be a standby for that.
    """
    if writes:
        return {"target_session_attrs": "read-write"}
    hosts = url.query.get("host", "")
    has_several = not isinstance(hosts, str) or "," in f"{url.host}{hosts}"
    return {"target_session_attrs": "primary"} if has_several else {}


def _expect_silent(connection: Any, *_: object) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    """A server that ends says so to an idle session, and closes its socket: a ping would tell no more, and costs a round trip."""
    said = select.poll()
    said.register(connection.fileno(), select.POLLIN)
    if said.poll(0):
        raise InvalidatePoolError("the session has ended")


def _watch_warnings(connection: Any, info: dict[str, object]) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    """Remembers warnings: a COMMIT whose wait for a synchronous standby is cancelled succeeds with nothing but one."""

    def remember(diagnostic: Any) -> None:  # noqa: ANN401 - psycopg is an optional dependency
        if diagnostic.severity_nonlocalized == "WARNING":
            info[WARNED] = True

    connection.add_notice_handler(remember)


def _expect_durable(connection: Any) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('synchronous_commit'), current_setting('fsync')")
        synchronous_commit, fsync = cursor.fetchone()
    connection.rollback()
    if synchronous_commit != "on":
        raise StoreUnavailable(f"PostgreSQL refused synchronous_commit=on: it answered {synchronous_commit}")
    if fsync != "on":
        logger.warning("PostgreSQL runs with fsync=off: a power cut can take back what was acknowledged; set fsync=on")
