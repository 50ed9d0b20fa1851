"""What lists and conversations answer while their read model is far behind: that nothing is found then says nothing."""

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from api.errors import NotFoundYet
from api.service import Service
from ledger.errors import NotFound
from projections.health import lag_in_words
from projections.queries_messages import Page

T = TypeVar("T")


def found(service: Service, name: str, request: Request, ask: Callable[[], T]) -> T:
    """What a read model answers; NotFoundYet where it has nothing, and so far lacks much of what is in the log.

    A list that was paged to its end, and ends, was found.
    """
    try:
        answer = ask()
    except NotFound as error:
        _expect_not_behind(service, name, error)
        raise
    if isinstance(answer, Page) and not answer.items and "cursor" not in request.query_params:
        _expect_not_behind(service, name)
    return answer


def _expect_not_behind(service: Service, name: str, missing: NotFound | None = None) -> None:
    status = service.read_models.projection_status(name)
    if status.is_behind:
        lag = lag_in_words(status.lag_events, status.lag_seconds)
        raise NotFoundYet(
            f"nothing is found, but that may be of what has not come to {name} yet, which is {lag}; ask again, or ask"
            " for the status or the history of a message by its id, which the log has"
        ) from missing
