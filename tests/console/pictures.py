"""The picture of the console in the README, taken of a real server: `python -m tests.console.pictures`.

It is kept in the repository, so a changed look means a new picture. Needs a Chromium; `--dark` and `--phone` show others.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.api.running import Running, running, settings_at, until
from tests.builders import send_body
from tests.console.conftest import CHROMIUM_ARGS
from tests.console.visitors import deliver, message_path
from tests.requirements import program

PLACE = Path(__file__).parent.parent.parent / "docs" / "pictures" / "console-message.png"
MESSAGE = "msg_abc123"
MINUTES_AGO_US = 4 * 60 * 1_000_000
DESKTOP = {"width": 1180, "height": 800}
PHONE = {"width": 390, "height": 844}


def take(place: Path, *, phone: bool = False, dark: bool = False) -> None:
    """Takes the picture of a failed message whose webhooks overtook each other."""
    options: dict[str, Any] = {"viewport": PHONE if phone else DESKTOP, "color_scheme": "dark" if dark else "light"}
    with tempfile.TemporaryDirectory() as folder, running(settings_at(Path(folder), api_keys=())) as server:
        _tell(server)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program("chromium"), args=list(CHROMIUM_ARGS))
            page = browser.new_page(base_url=f"http://127.0.0.1:{server.port}", **options)
            page.goto(message_path(MESSAGE))
            place.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=place, full_page=True)
            browser.close()


def _tell(server: Running) -> None:
    """What happened in the last minutes, at the pace of a carrier."""
    began_us = time.time_ns() // 1_000 - MINUTES_AGO_US

    def after(seconds: float) -> None:
        server.service.now_us = lambda: began_us + int(seconds * 1_000_000)

    after(0)
    send = send_body([MESSAGE], "idem_order_789")
    assert server.http.post("/sends", content=send).is_success
    common = {"externalReference": "order_789"}
    after(0.8)
    deliver(server, "message.queued", MESSAGE, sequence=1, **common)
    after(37.2)
    reason = {"errorCode": "30007", "errorMessage": "Message filtered by the carrier"}
    deliver(server, "message.failed", MESSAGE, sequence=4, providerMessageRef="SM91f3", **common, **reason)
    after(61.5)
    deliver(server, "message.sent", MESSAGE, sequence=2, providerMessageRef="SM91f3", **common)
    until(lambda: all(each.lag_events == 0 for each in server.service.read_models.projections()))


if __name__ == "__main__":
    take(PLACE, phone="--phone" in sys.argv, dark="--dark" in sys.argv)
    print(f"{PLACE}: {PLACE.stat().st_size:,} bytes")  # noqa: T201 - a script's answer
