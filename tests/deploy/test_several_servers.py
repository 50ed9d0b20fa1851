"""docs/deploy/several-servers.md: two servers on one PostgreSQL behind nginx, set up with the blocks of the page."""

import re
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import make_url

from ledger.ledger import Ledger
from tests.api.program import program
from tests.api.running import WEBHOOKS, key_of, signed
from tests.builders import body
from tests.deploy.proxy import CONF, INSIDE, NAME, OUTSIDE, proxied
from tests.engines import PrivatePostgres, postgres_binaries
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


def test_a_server_that_hangs_or_dies_is_not_noticed_by_the_provider(tmp_path: Path, postgres: PrivatePostgres) -> None:
    facts = [body("message.sent", f"msg_{number}", sequence=1) for number in range(DELIVERIES)]
    impatient = {"proxy_read_timeout 30s": "proxy_read_timeout 300ms"}
    with (
        postgres.fresh_database() as url,
        program(url, tmp_path / "one.log") as one,
        program(url, tmp_path / "other.log") as other,
        proxied(tmp_path, **changes(one.port, other.port), **impatient) as nginx,
        nginx.http(OUTSIDE) as provider,
        nginx.http(INSIDE) as browser,
    ):
        form, origin = {"key": key_of("reader")}, {"Origin": f"https://{NAME}"}
        signed_in = browser.post("/console/sign-in", data=form, headers=origin)
        cookie = signed_in.headers["Set-Cookie"].partition(";")[0]
        pages = [browser.get("/console", headers={"Cookie": cookie}).status_code for _ in range(4)]
        statuses = []
        for number, fact in enumerate(facts):
            if number == DELIVERIES // 3:
                one.process.send_signal(signal.SIGSTOP)
            elif number == 2 * DELIVERIES // 3:
                one.kill()
            statuses.append(provider.post(WEBHOOKS, content=fact, headers=signed(fact)).status_code)
        with other.http as reader:
            stored = reader.get("/feed?limit=1000").json()["events"]

    assert statuses == [202] * DELIVERIES
    assert sorted(event["messageId"] for event in stored) == sorted(f"msg_{number}" for number in range(DELIVERIES))
    assert pages == [200] * 4


def test_servers_that_are_restarted_one_after_the_other_are_not_noticed_either(
    tmp_path: Path, postgres: PrivatePostgres
) -> None:
    statuses: list[int] = []
    with (
        postgres.fresh_database() as url,
        ExitStack() as servers,
        program(url, tmp_path / "other.log") as other,
    ):
        one = servers.enter_context(program(url, tmp_path / "one.log"))
        nginx = servers.enter_context(proxied(tmp_path, **changes(one.port, other.port)))
        provider = servers.enter_context(nginx.http(OUTSIDE))

        def deliver() -> None:
            for _ in range(5):
                fact = body("message.sent", f"msg_{len(statuses)}", sequence=1)
                statuses.append(provider.post(WEBHOOKS, content=fact, headers=signed(fact)).status_code)

        deliver()
        one.stop()
        deliver()
        servers.enter_context(program(url, tmp_path / "again.log", LEDGER_PORT=str(one.port)))
        other.stop()
        deliver()

    assert statuses == [202] * 15


def test_the_role_and_the_database_of_the_page_are_all_that_a_ledger_needs(postgres: PrivatePostgres) -> None:
    admin = make_url(postgres.new_database())
    server = {"PGHOST": admin.host, "PGPORT": str(admin.port), "PGUSER": admin.username, "PGPASSWORD": admin.password}
    of_the_page = admin.set(username="of_the_page", password="its password", database="of_the_page")
    script = re.sub(r"\bledger\b", "of_the_page", block(PAGE, "create-database"))
    try:
        subprocess.run(
            ["bash", "-euc", script],
            env={
                "PATH": f"{postgres_binaries()}:/usr/bin:/bin",
                **{name: value or "" for name, value in server.items()},
            },
            input="its password\nits password\n",  # asked for twice, where there is no terminal as well
            text=True,
            start_new_session=True,
            check=True,
            capture_output=True,
        )
        with Ledger.open(of_the_page.render_as_string(hide_password=False)) as ledger:
            assert [head.position for head in ledger.heads()] == [0]
    finally:
        postgres.execute("DROP DATABASE IF EXISTS of_the_page WITH (FORCE)")
        postgres.execute("DROP ROLE IF EXISTS of_the_page")
        postgres.drop_database(admin.render_as_string(hide_password=False))
