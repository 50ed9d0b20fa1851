"""Made-up requests to a real server over its socket: no answer of 5xx but 503 and 504, and every refusal a problem.

Two fifths are made by schemathesis from `GET /openapi.json`, good ones and bad ones, and every answer is held to what it says;
the rest is bytes for everything that a request has. What is stored afterwards verifies, and the read models are equal to a fold.
"""

from collections import Counter
from pathlib import Path

from ledger.signatures import Secret
from ledger.verification import verify
from tests.api.fuzzing import fuzz
from tests.api.fuzzing_bytes import fuzz_bytes
from tests.api.running import SECRETS, Running, running, settings_at
from tests.engines import PrivatePostgres
from tests.faults.figures import Figures
from tests.faults.places import folder_in_memory
from tests.faults.read_models import served_read_model_violations

DESCRIBED_OPERATIONS = 16
"""Those that have parameters or a body, to which there is more to say than once."""

SHARE_OF_THE_DESCRIPTION = 0.4


def fuzz_sqlite(trials: int, seed: int) -> Figures:
    """So many requests to a server on SQLite."""
    with folder_in_memory() as folder:
        return _fuzz("fuzz-sqlite", folder, trials, seed)


def fuzz_postgresql(trials: int, seed: int) -> Figures:
    """So many requests to a server on PostgreSQL."""
    with PrivatePostgres() as server, server.fresh_database() as url:
        return _fuzz("fuzz-postgresql", url, trials, seed)


def _fuzz(name: str, place: str | Path, trials: int, seed: int) -> Figures:
    figures = Figures(name)
    statuses: Counter[int] = Counter()
    with running(settings_at(place)) as server:
        an_operation = max(1, round(trials * SHARE_OF_THE_DESCRIPTION / DESCRIBED_OPERATIONS))
        try:
            answers = fuzz(server, requests_an_operation=an_operation, seed=seed)
        except AssertionError as error:
            answers = Counter()
            figures.violated(str(error))
        figures.counts["operations"] = len({operation for operation, _ in answers})
        for (_, status), count in answers.items():
            statuses[status] += count
        in_bytes, wrong = fuzz_bytes(server, max(trials - statuses.total(), 1), seed)
        statuses += in_bytes
        figures.violated(*wrong, *_wrong_with_the_ledger(server))
    figures.trials = figures.hits = statuses.total()
    for status in range(2, 6):
        figures.counts[f"answers of {status}xx"] = sum(n for each, n in statuses.items() if each // 100 == status)
    figures.counts["of 5xx other than 503 and 504"] = sum(
        n for each, n in statuses.items() if each >= 500 and each not in {503, 504}
    )
    return figures


def _wrong_with_the_ledger(server: Running) -> list[str]:
    ledger = server.service.ledger
    secrets = [Secret(name, key) for name, key in SECRETS.items()]
    found = verify(ledger, deep=True, secrets=secrets).findings
    return [*(f"VERIFY: {finding}" for finding in found), *served_read_model_violations(ledger, rebuilding=True)]
