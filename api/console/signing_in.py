"""Signing in and out. The key is looked at once; the cookie holds a random session id, and never leaves /console."""

import time
from urllib.parse import urlsplit

from starlette.responses import Response

from api.access import Caller, Scope
from api.console.doorway import COOKIE, FORM_LOST, SESSION_ENDED
from api.console.rendering import see_other
from api.console.sessions import LASTS_S
from api.console.visit import Visit
from api.errors import TooManyFailures, Unauthenticated

WRONG_KEY = "No such key. Check that all of it was copied, and that it has not been replaced, and has not expired."
CANNOT_READ = (
    "The key {name!r} may hand over sends, but not read. Ask for a key with the scope 'read', or 'masked' for numbers "
    "cut short and texts withheld."
)

ENDED = {
    SESSION_ENDED: "Your session has ended. Sign in to go on where you were.",
    FORM_LOST: "Your session has ended, and nothing was done. Sign in, and send the form again.",
}


async def sign_in_page(visit: Visit) -> Response:
    """The form; who is in already goes on."""
    target = _safe(visit.asked("next"))
    if visit.caller.may(Scope.MASKED):
        return see_other(target)
    return _form(visit, target, ended=ENDED.get(visit.asked("ended") or ""))


def sign_in(visit: Visit) -> Response:
    """Looks at a key: a session and its cookie, or the form again with what is wrong."""
    access, form = visit.service.access, visit.form()
    target = _safe(form.get("next"))
    if not access.keys:
        return see_other(target)
    address = visit.request.client.host if visit.request.client else ""
    try:
        caller = access.caller_with(form.get("key", "").strip(), address, time.monotonic())
    except TooManyFailures as error:
        return _form(visit, target, f"Too many wrong keys came from here. Wait {error.retry_after_s} s.", 429)
    except Unauthenticated:
        return _form(visit, target, WRONG_KEY, 401)
    visit.tell(holder=caller.name)
    if not caller.may(Scope.MASKED):
        return _form(visit, target, CANNOT_READ.format(name=caller.name), 403)
    return see_other(target, {"Set-Cookie": _cookie(visit, _session_id(visit, caller), int(LASTS_S))})


def sign_out(visit: Visit) -> Response:
    """Ends the session here and in the browser."""
    session_id = visit.request.cookies.get(COOKIE)
    if session_id:
        visit.console.sessions.end(session_id)
    if visit.service.access.keys and visit.caller.scopes:
        visit.tell(holder=visit.caller.name)
    return see_other("/console/sign-in", {"Set-Cookie": _cookie(visit, "", 0)})


def _session_id(visit: Visit, caller: Caller) -> str:
    earlier = visit.request.cookies.get(COOKIE)
    if earlier:
        visit.console.sessions.end(earlier)
    return visit.console.sessions.begin(caller, time.monotonic())


def _cookie(visit: Visit, session_id: str, lasts_s: int) -> str:
    # The page's own origin tells whether the browser came over https: behind a proxy that ends TLS we are asked over http.
    is_https = visit.request.headers.get("origin", "").startswith("https://") or visit.request.url.scheme == "https"
    cookie = f"{COOKIE}={session_id}; Path=/console; Max-Age={lasts_s}; HttpOnly; SameSite=Strict"
    return f"{cookie}; Secure" if is_https else cookie


def _form(
    visit: Visit, target: str, wrong: str | None = None, status: int = 200, *, ended: str | None = None
) -> Response:
    return visit.page("sign_in.html", status, target=target, wrong=wrong, ended=ended)


def _safe(target: str | None) -> str:
    """A page of the console, whatever a link said."""
    text = target or ""
    parts = urlsplit(text)
    is_ours = text.startswith(("/console/", "/console?")) and not parts.scheme and not parts.netloc
    return text if is_ours and text.isprintable() and text.isascii() else "/console"
