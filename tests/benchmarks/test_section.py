from pathlib import Path

from tests.benchmarks.section import write

ORDER = ("first", "second", "third")


def test_pieces_measured_in_any_order_stand_in_theirs_and_replace_only_their_own(tmp_path: Path) -> None:
    document = tmp_path / "figures.md"
    document.write_text("# Figures\n")

    for name, content in (("third", "3"), ("first", "1"), ("second", "2"), ("first", "1 again\\1")):
        write(document, name, content, ORDER)

    blocks = (("first", "1 again\\1"), ("second", "2"), ("third", "3"))
    shown = (f"<!-- begin {name} -->\n{content}\n<!-- end {name} -->\n" for name, content in blocks)
    assert document.read_text() == "\n".join(["# Figures\n", *shown])
