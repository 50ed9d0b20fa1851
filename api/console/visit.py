"""One request of somebody who may look: who asks, what they may see, and the page that answers.

What a page shows of strangers' text goes through `said`, where it is masked for who may not see it.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller, Scope
from api.audit.witness import tell
from api.console.pulse import Pulse
from api.console.rendering import html, templates
from api.console.sessions import Sessions
from api.http.questions import path_text, query_text
from api.service import Service
from api.visible import visible
from ledger import clock
from ledger.errors import MalformedQuestion
from projections.masking import mask_numbers, mask_phone, mask_value

FORM_FIELDS_MAX = 16


@dataclass(slots=True)
class OpenStreams:
    """How many streams are open. For one event loop."""

    number: int = 0


@dataclass(frozen=True, slots=True)
class Console:
    """What all pages share."""

    service: Service
    sessions: Sessions = field(default_factory=Sessions)
    streams: OpenStreams = field(default_factory=OpenStreams)
    pulse: Pulse = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pulse", Pulse(self.service))


@dataclass(frozen=True, slots=True)
class Visit:
    """A request, and what it is answered from. `body` is that of a POST."""

    console: Console
    request: Request
    caller: Caller
    body: bytes = b""
    now_us: int = field(default_factory=clock.now_us)

    @property
    def service(self) -> Service:
        """The running server."""
        return self.console.service

    @property
    def masked(self) -> bool:
        """Whether numbers and what people wrote are withheld."""
        return self.caller.is_masked

    @property
    def is_admin(self) -> bool:
        """Whether the visitor may change what the ledger does."""
        return self.caller.may(Scope.ADMIN)

    @property
    def behind(self) -> int:
        """How many events lists are behind the log, where that may mislead the visitor; else 0."""
        return self.console.pulse.feel().behind

    def id_in(self, name: str) -> str:
        """The id in the path, or that of the query where no path can carry it."""
        if name in self.request.path_params:
            return path_text(self.request, name)
        text = query_text(self.request, "id")
        if text is None:
            raise MalformedQuestion("which one? There is no id in this address")
        return text

    def asked(self, name: str) -> str | None:
        """A parameter of the query without white space around it; None where it is empty or absent."""
        return (query_text(self.request, name) or "").strip() or None

    def form(self) -> dict[str, str]:
        """The fields of a form that was sent."""
        try:
            fields = parse_qs(self.body.decode("utf-8"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
        except ValueError:
            raise MalformedQuestion("this is not a form of the console") from None
        return {name: values[0] for name, values in fields.items()}

    def said(self, text: object) -> str:
        """Text of strangers as this visitor may see it."""
        words = str(text)
        return visible(mask_numbers(words) if self.masked else words)

    def phone(self, number: str | None) -> str | None:
        """A telephone number as this visitor may see it."""
        if number is None:
            return None
        return f"…{mask_phone(number)}" if self.masked else visible(number)

    def value(self, value: object) -> object:
        """A JSON value as this visitor may see it."""
        return mask_value(value) if self.masked else value

    def tell(self, *, holder: str | None = None, subject: str | None = None, **result: object) -> None:
        """What only the page knows of its request, for the audit trail."""
        tell(self.request, holder=holder, subject=subject, **result)

    def page(self, template: str, status: int = 200, **context: object) -> Response:
        """A page made of a template and what it shows."""
        return html(templates().get_template(template).render(visit=self, now_us=self.now_us, **context), status)
