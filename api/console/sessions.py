"""Who is signed in: random session ids in cookies, and what each stands for, in this process's memory alone.

A session ends by signing out, after an hour without use, twelve hours after it began, and with the process. The key itself
is looked at once and never kept; the ids are kept as digests, so that a dump of the memory's table opens nothing.
"""

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

from api.access import Caller

SESSIONS_MAX = 1_000
IDLE_S = 60 * 60.0
LASTS_S = 12 * 60 * 60.0
SESSION_ID_BYTES = 32


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who signed in; times are seconds of a clock that only goes forward."""

    caller: Caller
    began_s: float
    seen_s: float

    def is_over(self, now_s: float) -> bool:
        """Whether it was too long idle, or too long at all."""
        return now_s - self.seen_s > IDLE_S or now_s - self.began_s > LASTS_S


class Sessions:
    """At most a thousand sessions; the one that was seen longest ago makes room. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, caller: Caller, now_s: float) -> str:
        """A new session's id, for the cookie."""
        session_id = secrets.token_urlsafe(SESSION_ID_BYTES)
        with self._lock:
            self._sessions[_digest(session_id)] = Session(caller, now_s, now_s)
            while len(self._sessions) > SESSIONS_MAX:
                self._sessions.popitem(last=False)
        return session_id

    def caller(self, session_id: str, now_s: float) -> Caller | None:
        """Whose session it is, which counts as use; None where there is none, or none any more."""
        place = _digest(session_id)
        with self._lock:
            session = self._sessions.pop(place, None)
            if session is None or session.is_over(now_s):
                return None
            self._sessions[place] = replace(session, seen_s=now_s)
            return session.caller

    def end(self, session_id: str) -> None:
        """Forgets a session."""
        with self._lock:
            self._sessions.pop(_digest(session_id), None)

    def __len__(self) -> int:
        return len(self._sessions)


def _digest(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode("utf-8", "surrogateescape")).digest()
