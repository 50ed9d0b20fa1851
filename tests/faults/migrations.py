"""A later program: this one with three migrations more, which change columns, move data and add an index. Only for tests."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.config import Config

import ledger.store
from ledger.store import migrating, migrations

VERSIONS = ("9001", "9002", "9003")
_HEAD = '"""A later version."""\nimport sqlalchemy as sa\nfrom alembic import op\n\nrevision = {!r}\ndown_revision = {!r}\n\n'
_UPGRADES = (
    """
def upgrade() -> None:
    op.add_column("quarantine", sa.Column("note", sa.Text, nullable=True))
    op.execute("UPDATE quarantine SET note = 'moved'")
""",
    """
def upgrade() -> None:
    op.create_table("streams", sa.Column("stream_id", sa.LargeBinary, primary_key=True), sa.Column("events", sa.Integer))
    op.execute("INSERT INTO streams SELECT stream_id, count(*) FROM events GROUP BY stream_id")
""",
    """
def upgrade() -> None:
    op.create_index("quarantine_by_note", "quarantine", ["received_at_us"])
    op.drop_index("events_by_stream", "events")
    op.create_index("events_by_stream", "events", ["stream_id", "partition", "version", "fact_key"])
""",
)


@contextmanager
def with_test_migrations() -> Iterator[None]:
    """Within the block this program is that later one."""
    before, newest = migrating._config, migrations.NEWEST  # noqa: SLF001 - where migrations are is no setting
    previous = newest
    with tempfile.TemporaryDirectory(prefix="ledger-migrations-") as folder:
        scripts = Path(folder) / "migrations"
        shutil.copytree(Path(ledger.store.__path__[0]) / "migrations", scripts)
        for version, upgrade in zip(VERSIONS, _UPGRADES, strict=True):
            (scripts / "versions" / f"v{version}_later.py").write_text(_HEAD.format(version, previous) + upgrade)
            previous = version

        def config() -> Config:
            later = Config()
            later.set_main_option("script_location", str(scripts))
            later.set_main_option("path_separator", "os")
            return later

        migrating._config, migrations.NEWEST = config, VERSIONS[-1]  # noqa: SLF001
        try:
            yield
        finally:
            migrating._config, migrations.NEWEST = before, newest  # noqa: SLF001
