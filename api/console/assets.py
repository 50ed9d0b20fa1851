"""What the pages are made of beside HTML: the style sheet, the script, the icon. Open to anybody, and nothing personal."""

from starlette.responses import Response

from api.console.rendering import SECURITY_HEADERS, static_files
from api.console.visit import Visit
from ledger.errors import NotFound

MEDIA_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
# A changed file has another address, so a copy of this one is good for ever.
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


async def asset(visit: Visit) -> Response:
    """One file."""
    name = visit.request.path_params["name"]
    content = static_files().get(name)
    if content is None:
        raise NotFound("there is no such file")
    return Response(content, 200, SECURITY_HEADERS | FOR_EVER, MEDIA_TYPES[name.rpartition(".")[2]])
