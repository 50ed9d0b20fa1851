"""docs/deploy/several-servers.md: two servers on one PostgreSQL behind nginx, set up with the blocks of the page."""

import re
from pathlib import Path

from tests.api.program import program
from tests.api.running import WEBHOOKS, key_of, signed
from tests.builders import body
from tests.deploy.proxy import CONF, INSIDE, NAME, OUTSIDE, proxied
from tests.engines import PrivatePostgres
from tests.pages import block

PAGE = "docs/deploy/several-servers.md"
DELIVERIES = 40


def changes(one: int, other: int) -> dict[str, str]:
    """What the page says to change in nginx.conf, with the test's servers."""
    upstreams = block(PAGE, "nginx-upstreams").replace("10.0.0.11:8080", f"127.0.0.1:{one}")
    console = block(PAGE, "nginx-console").replace("10.0.0.0/8", INSIDE)
    (upstream,) = re.findall(r"^upstream ledger \{.*?^\}\n", CONF.read_text(), re.DOTALL | re.MULTILINE)
    return {
        upstream: upstreams.replace("10.0.0.12:8080", f"127.0.0.1:{other}"),
        "    location / {": f"{console}\n    location / {{",
    }


def test_a_server_that_dies_is_not_noticed_by_the_provider(tmp_path: Path, postgres: PrivatePostgres) -> None:
    facts = [body("message.sent", f"msg_{number}", sequence=1) for number in range(DELIVERIES)]
    with (
        postgres.fresh_database() as url,
        program(url, tmp_path / "one.log") as one,
        program(url, tmp_path / "other.log") as other,
        proxied(tmp_path, **changes(one.port, other.port)) as nginx,
        nginx.http(OUTSIDE) as provider,
        nginx.http(INSIDE) as browser,
    ):
        statuses = []
        for number, fact in enumerate(facts):
            if number == DELIVERIES // 2:
                one.kill()
            statuses.append(provider.post(WEBHOOKS, content=fact, headers=signed(fact)).status_code)
        sent = browser.post("/console/sign-in", data={"key": key_of("reader")}, headers={"Origin": f"https://{NAME}"})
        cookie = sent.headers["Set-Cookie"].partition(";")[0]
        pages = [browser.get("/console", headers={"Cookie": cookie}).status_code for _ in range(4)]
        with other.http as reader:
            stored = reader.get("/feed?limit=1000").json()["events"]

    assert statuses == [202] * DELIVERIES
    assert sorted(event["messageId"] for event in stored) == sorted(f"msg_{number}" for number in range(DELIVERIES))
    assert pages == [200] * 4
