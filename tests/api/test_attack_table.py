"""The attacks and odd inputs that the ledger promises to withstand, by their numbers, each with the tests that show it.

| case | what arrives | what happens |
| --- | --- | --- |
| 1 to 4 | no signature; another secret; one byte changed; JSON written otherwise | 401 |
| 5 | a replay | 200, stored once |
| 6 | signed 3 h ago | recorded, late |
| 7 to 9 | odd timestamps; a moved border; a header twice | 401 |
| 10 | upper-case hex; a prefix, other characters | accepted; 401 |
| 11 | the old secret | accepted while active, then 401 |
| 12 to 14 | a body without end; a wrong length; compressed | 413; 400, closed; 415 |
| 15 | 500 slow connections | others are served within 1 s |
| 16 to 19 | garbage; a sequence twice; 64 copies; an unknown kind | quarantined; both kept; one row; recorded |
| 20 to 23 | GET; markup and formulas; odd ids; `//webhooks/red-cloud` | 405; inert; 400 or 404; 404 |
| 24 to 26 | a wrong key; an odd limit or cursor; a forged X-Forwarded-For | 401 or 403; 400; ignored |
| 27, 28 | the disk full or the database down; a clock a day off | 503, stored after the repair; nothing lost, alarm |

Where each is: `CASES`.
"""

import ast
from pathlib import Path

FOLDER = Path(__file__).parent
CONSOLE = FOLDER.parent / "console"
CASES_MAX = 28

CASES = {
    1: ["test_signing.py"],
    2: ["test_signing.py"],
    3: ["test_signing.py"],
    4: ["test_signing.py"],
    5: ["test_signing.py"],
    6: ["test_signing.py"],
    7: ["test_signing.py"],
    8: ["test_signing.py"],
    9: ["test_signing.py"],
    10: ["test_signing.py"],
    11: ["test_signing.py"],
    12: ["test_connections.py"],
    13: ["test_connections.py"],
    14: ["test_receiving.py"],
    15: ["test_connections.py"],
    16: ["test_quarantine.py"],
    17: ["test_history.py"],
    18: ["test_concurrency.py"],
    19: ["test_history.py"],
    20: ["test_receiving.py"],
    21: ["test_history.py", "test_pages.py", "test_hostile_text.py"],
    22: ["test_connections.py"],
    23: ["test_connections.py"],
    24: ["test_access.py"],
    25: ["test_connections.py"],
    26: ["test_access.py"],
    27: ["test_store_down.py"],
    28: ["test_signing.py"],
}


def cases_in(file: Path) -> set[int]:
    """The numbers of the cases that a module has tests for: `test_case_12_…`."""
    names = [node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)]
    return {int(name.split("_")[2]) for name in names if name.startswith("test_case_")}


def test_every_attack_has_its_test_where_the_table_says() -> None:
    found: dict[int, list[str]] = {case: [] for case in range(1, CASES_MAX + 1)}
    for file in sorted([*FOLDER.glob("test_*.py"), CONSOLE / "test_pages.py"]):
        for case in cases_in(file):
            found[case].append(file.name)

    assert list(CASES) == list(found)
    assert all(set(files) <= set(found[case]) for case, files in CASES.items())
