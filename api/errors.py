"""What the ways in raise on purpose, in the families of `ledger/errors.py`. `api/http/problems.py` has what each is answered."""

from ledger.errors import LedgerError, SenderMustFix, TryAgain
from projections.health import lag_in_words


class Unauthenticated(LedgerError):
    """There is no API key with the request, or not one of ours."""


class TooManyFailures(LedgerError):
    """Too many wrong keys came from one address; a good key is answered all the same."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            f"too many wrong keys came from this address; wait {retry_after_s} s before the next wrong one"
        )
        self.retry_after_s = retry_after_s


class Forbidden(LedgerError):
    """The key is ours, but does not have the scope that this needs."""


class MethodRefused(SenderMustFix):
    """Webhooks are delivered with POST."""


class BodyTooLarge(SenderMustFix):
    """The body is larger than a webhook can be."""


class EncodingRefused(SenderMustFix):
    """The body is compressed; a signature covers the exact bytes, so they must come as they are."""


class BodyCutOff(SenderMustFix):
    """The connection ended before the body did."""


class BodyTooSlow(SenderMustFix):
    """The body did not arrive in time."""


class LengthWrong(SenderMustFix):
    """The body has another length than was announced."""


class TooManyStreams(TryAgain):
    """More clients follow the feed than one server serves."""


class ProjectorSilent(TryAgain):
    """The process that projects does not answer."""


class NotFoundYet(TryAgain):
    """Nothing was found, and the read model is far behind."""

    retry_after_s = 5


class NotReachedInTime(TryAgain):
    """The read model did not reach the position that was waited for."""

    retry_after_s = 1

    def __init__(
        self, wanted: str, reached: str, lag_events: int, lag_seconds: float, *, is_recorded: bool = True
    ) -> None:
        nothing_yet = "" if is_recorded else f"nothing is recorded at {wanted} yet: "
        super().__init__(
            f"{nothing_yet}the read model is at {reached} and did not reach {wanted} in time; "
            f"it is {lag_in_words(lag_events, lag_seconds)}"
        )
        self.lag_events = lag_events
        self.lag_seconds = lag_seconds
