"""`python -m tests.benchmarks [NAME …] [--quick] [--write]`."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.closed_loop import WrkMissing, wrk
from tests.benchmarks.machine import machine, syncs_per_second
from tests.benchmarks.measuring import tell
from tests.benchmarks.section import Section, write
from tests.benchmarks.subjects import SUBJECTS
from tests.engines import NotInstalled

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "BENCHMARKS.md"


def main() -> int:
    """Measures what was asked for; the exit status."""
    options = _options()
    unknown = set(options.names) - set(SUBJECTS)
    if unknown:
        tell(f"there is no benchmark {sorted(unknown)}: expected some of {', '.join(SUBJECTS)}")
        return 2
    try:
        wrk()
        tell(machine())
        with Bench.begun(quick=options.quick, big=options.big, beside=options.folder, keep=options.keep) as bench:
            for name in options.names or SUBJECTS:
                _measure(bench, name, SUBJECTS[name], keep=options.write)
    except (WrkMissing, NotInstalled) as error:
        tell(str(error))
        return 1
    return 0


def _measure(bench: Bench, name: str, subject: Callable[[Bench], Section], *, keep: bool) -> None:
    tell(f"{name}: {(subject.__doc__ or '').splitlines()[0]}")
    began_s = time.monotonic()
    section = subject(bench)
    tell(f"  {name} took {(time.monotonic() - began_s) / 60:.1f} min")
    syncs = syncs_per_second(bench.folder, seconds=1)
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    processor = machine().partition(",")[0]
    section.notes.append(f"<sub>{at} UTC, {processor}; right after it the disk did {syncs:,.0f} syncs/s.</sub>")
    print(f"\n{section}\n", flush=True)  # noqa: T201 - this is a command
    if keep:
        order = ("machine", *SUBJECTS)
        write(DOCUMENT, "machine", machine(), order)
        write(DOCUMENT, section.name, str(section), order)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Measure the ledger and its rivals."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"what to measure (default: all): {', '.join(SUBJECTS)}"
    )
    parser.add_argument("--quick", action="store_true", help="one short round of each, for a first look")
    parser.add_argument(
        "--big",
        action="store_true",
        help="up to 5,000,000 events (growth), 1,000,000 (rebuilding) and 1,000,000 messages (beside, console): 40 GB of disk",
    )
    parser.add_argument(
        "--write", action="store_true", help=f"put the tables into docs/{DOCUMENT.name}, each in the place of its last"
    )
    parser.add_argument(
        "--folder", type=Path, help="make the files there: the disk that is measured (default: $TMPDIR)"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="keep filled ledgers and PostgreSQL's data there, for the next run; the files of these are that disk's",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
