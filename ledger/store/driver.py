"""Statements that go to the driver as they stand: those of the hot paths.

SQLAlchemy keeps what it is good at, the pool, the transaction and the errors. Its own way of executing a statement costs ten
times as much as a driver's, and more than the database needs for most of these.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

SAID_CHARACTERS_MAX = 200
Row = tuple[Any, ...]


def run(connection: Connection, statement: str, values: Sequence[object] = (), *, streams: bool = False) -> Any:  # noqa: ANN401 - cursors of drivers have no common type
    """The driver's cursor after a statement within a transaction; `streams`: what it brings is not held in memory as a whole.

    Raises what SQLAlchemy would raise, and gives a connection that is lost back as it would.
    """
    is_psycopg = connection.dialect.driver == "psycopg"
    cursor: Any = _raw_cursor(connection, streams=streams) if is_psycopg else connection.connection.cursor()
    try:
        for observe in connection.engine.dispatch.before_cursor_execute:
            observe(connection, cursor, statement, values, None, False)  # noqa: FBT003 - not many at once: SQLAlchemy's own order
        if is_psycopg:
            # As text, the bytes of a row would come twice as long.
            cursor.execute(_numbered(statement), values, binary=True)
        else:
            cursor.execute(statement, values)
    except Exception as error:  # noqa: BLE001 - raised again there, as what it is to SQLAlchemy
        connection._handle_dbapi_exception(error, statement, None, cursor, None)  # noqa: SLF001 - the only one who knows all drivers' errors
    return cursor


def run_each(connection: Connection, statement: str, rows: Sequence[Sequence[object]]) -> None:
    """A statement once for each row of values, in one go where there are several. Raises what SQLAlchemy would raise."""
    if len(rows) == 1:
        run(connection, statement, rows[0])
    else:
        connection.exec_driver_sql(statement, [tuple(row) for row in rows])


@contextmanager
def copying(connection: Connection, statement: str) -> Iterator[Any]:
    """PostgreSQL's COPY … FROM STDIN within a transaction; what is yielded has `write_row`. Raises as `run` does."""
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(statement) as copied:
            yield copied
    except Exception as error:  # noqa: BLE001 - raised again there, as what it is to SQLAlchemy
        connection._handle_dbapi_exception(error, statement, None, cursor, None)  # noqa: SLF001 - as in `run`


def fetch(connection: Connection, statement: str, values: Sequence[object] = ()) -> list[Row]:
    """All rows of a statement, as the driver gives them. Raises what SQLAlchemy would raise."""
    cursor = run(connection, statement, values)
    try:
        return list(cursor.fetchall())
    except Exception as error:  # noqa: BLE001 - as in `run`; a page may be found damaged only here
        connection._handle_dbapi_exception(error, statement, None, cursor, None)  # noqa: SLF001 - as in `run`


def chunks(connection: Connection, statement: str, values: Sequence[object], rows_at_once: int) -> Iterator[list[Row]]:
    """The rows of a statement, some at a time, as the driver gives them. Raises what SQLAlchemy would raise."""
    with closing(run(connection, statement, values, streams=True)) as cursor:
        try:
            while rows := cursor.fetchmany(rows_at_once):
                yield rows
        except Exception as error:  # noqa: BLE001 - as in `fetch`
            connection._handle_dbapi_exception(error, statement, None, cursor, None)  # noqa: SLF001 - as in `run`


def _raw_cursor(connection: Connection, *, streams: bool) -> Any:  # noqa: ANN401 - psycopg is an optional dependency
    """A cursor of psycopg that takes PostgreSQL's own placeholders; one that streams is on the server.

    The usual one looks for `%s` in a statement of many rows each time anew: 40 µs an event, with Python's lock held.
    """
    from psycopg import RawCursor, RawServerCursor  # noqa: PLC0415 - as above

    raw = cast("Any", connection.connection.dbapi_connection)
    return RawServerCursor(raw, "streams") if streams else RawCursor(raw)


@lru_cache(maxsize=512)
def _numbered(statement: str) -> str:
    first, *others = statement.split("%s")
    return first + "".join([f"${number}{text}" for number, text in enumerate(others, start=1)])


def said(error: SQLAlchemyError) -> str:
    """What the database said, in a line, without our statement and its parameters, which are personal data; and what we noted."""
    original = getattr(error, "orig", None) or error
    lines = str(original).strip().splitlines()
    told = lines[0][:SAID_CHARACTERS_MAX] if lines else type(original).__name__
    return "; ".join([told, *getattr(error, "__notes__", ())])


def placeholder_of(connection: Connection) -> str:
    """How a parameter is written for this driver."""
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"
