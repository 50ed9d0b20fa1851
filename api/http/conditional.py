"""Conditional requests (RFC 9110, 13.1.2): whether a client has the answer already. Pure."""

import re
from collections.abc import Iterable

from ledger.positions import Position

_ENTITY_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def etag_of(position: Position) -> str:
    """The entity tag of an answer that holds up to a position."""
    return f'"{position}"'


def is_known(etag: str, if_none_match: Iterable[str]) -> bool:
    """Whether If-None-Match names the tag, or anything at all (`*`). Compared weakly; what is no tag is passed over."""
    given = ",".join(if_none_match)
    return given.strip() == "*" or etag in _ENTITY_TAG.findall(given)
