"""What a customer wrote, as a visitor may see it: the text, and what came with it.

A link in a message is shown and never followed by us; only its reader may.
"""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from api.answers import written
from api.console.visit import Visit

MEDIA_SHOWN_MAX = 20
LINK_CHARACTERS_MAX = 2_000
URL_MEMBERS = ("url", "href", "uri", "link")


class Media(NamedTuple):
    """Something that came with a message: its words, and its address where a browser may be sent there."""

    words: str
    url: str | None


class Written(NamedTuple):
    """`text` is None where it is withheld, or is no text."""

    text: str | None
    is_withheld: bool
    media: list[Media]


def written_of(visit: Visit, body: object, media: object) -> Written:
    """The members `body` and `media` of an inbound message."""
    if visit.masked:
        return Written(None, is_withheld=True, media=[])
    return Written(None if body is None else written(body), is_withheld=False, media=list(_media(media)))


def link(address: str) -> str | None:
    """An address that is a web page's, and that looks like what it is."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    is_plain = (
        address.isascii() and address.isprintable() and " " not in address and len(address) <= LINK_CHARACTERS_MAX
    )
    return address if is_plain and parts.scheme in ("http", "https") and parts.hostname else None


def _media(media: object) -> Iterator[Media]:
    items = media if isinstance(media, list) else [] if media is None else [media]
    for item in items[:MEDIA_SHOWN_MAX]:
        members = item if isinstance(item, dict) else {}
        address = next((members[name] for name in URL_MEMBERS if isinstance(members.get(name), str)), None)
        if isinstance(item, str):
            yield Media(item, link(item))
        elif isinstance(address, str):
            rest = {name: value for name, value in members.items() if value is not address}
            yield Media(address, link(address))
            if rest:
                yield Media(", ".join(f"{name} {written(value)}" for name, value in rest.items()), None)
        else:
            yield Media(written(item), None)
