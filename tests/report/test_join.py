"""One page of all tables, and the README's block."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from repflow_pl.errors import UserError
from repflow_pl.report.__main__ import main
from repflow_pl.report.claims_page import PAGE
from repflow_pl.report.join import MARKS, README_TABLE, join
from repflow_pl.report.table import Context, Table, render

BEGIN, END = MARKS


@pytest.fixture
def tables(table: Table, context: Context, runs: Path, paper_folder: Path, tmp_path: Path) -> Path:
    out = tmp_path / "tables"
    render(table, context, runs, [0, 1, 2], out, paper_folder)
    printed = tmp_path / "repflow_pl" / "report" / "paper_figures" / "README.md"
    printed.parent.mkdir(parents=True)
    printed.write_text("# not a table\n")
    (out / "yours").mkdir()
    (out / "yours" / PAGE).write_text("# not a table either\n")
    (out / "ut_interaction").mkdir()
    for name in ("architecture", "learned", "placement", "another"):
        text = f"# {name}\n\n![p]({name}.png) [w](https://example.org) [up](#top)\n\n## Controls\n"
        (out / "ut_interaction" / f"{name}.md").write_text(text)
    return out


def targets(text: str) -> list[str]:
    """Relative link targets of a page."""
    return [t for t in re.findall(r"\]\(([^)]+)\)", text) if not re.match(r"https?:|#", t)]


def test_joined_page(tables: Path) -> None:
    assert join(tables) == (tables / "README.md", tables / PAGE)
    page = (tables / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ .*$", page, flags=re.MULTILINE)
    assert [h for h in headings if h.startswith("## ")] == ["## motion_shapes", "## ut_interaction"]
    names = [h for h in headings if h.startswith("### ")][1:]
    assert names == ["### placement", "### learned", "### architecture", "### another"]
    assert "#### Controls" in headings
    assert "not a table" not in page
    assert "(https://example.org)" in page and "(#top)" in page


def test_the_claims_name_the_pages_that_look_into_why(tables: Path) -> None:
    join(tables)
    assert "## Why" not in (tables / PAGE).read_text(encoding="utf-8")
    for name in ("why", "fields"):
        (tables / "ut_interaction" / f"{name}.md").write_text(f"# {name}\n")
    join(tables)
    page = (tables / PAGE).read_text(encoding="utf-8")
    links = targets(page.partition("## Why")[2])
    assert sorted(links) == ["ut_interaction/fields.md", "ut_interaction/why.md"]
    assert all((tables / link).is_file() for link in links)


def test_links_lead_to_files(tables: Path) -> None:
    readme = tables.parent / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    join(tables, readme)
    found = 0
    for page in (tables / "README.md", readme):
        for target in targets(page.read_text(encoding="utf-8")):
            if "ut_interaction" not in target:
                assert (page.parent / target).is_file(), target
                found += 1
    assert found > 6


@pytest.fixture
def shown(tables: Path) -> Path:
    """With the table that a README shows."""
    shutil.copytree(tables / "motion_shapes", tables / README_TABLE[0])
    return tables


def test_joining_again_changes_nothing(shown: Path) -> None:
    readme = shown.parent / "README.md"
    readme.write_text(f"a\n{BEGIN}\n{END}\nb\n")
    assert join(shown, readme) == (shown / "README.md", shown / PAGE, readme)
    before = [path.read_bytes() for path in (shown / "README.md", readme)]
    assert join(shown, readme) == (shown / "README.md", shown / PAGE)
    assert [path.read_bytes() for path in (shown / "README.md", readme)] == before


@pytest.mark.long
def test_readme_block(shown: Path) -> None:
    readme = shown.parent / "docs" / "README.md"
    readme.parent.mkdir()
    before, after = "# Title\n\nText †.\n", "\n\nMore ![x](y.png)\n"
    readme.write_text(f"{before}{BEGIN}old{END}{after}", encoding="utf-8")
    join(shown, readme)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(before + BEGIN) and text.endswith(END + after)
    block = text[len(before) : -len(after)]
    assert "old" not in block
    assert "(../tables/ucf101/placement.png)" in block
    assert "| **After block 3** | 62.5 (56.3–68.7) |" in block
    assert "† unverified" in block
    assert "\n#" not in block


def test_readme_without_markers_is_left_alone(tables: Path) -> None:
    readme = tables.parent / "README.md"
    readme.write_text("no markers\n")
    assert join(tables, readme) == (tables / "README.md", tables / PAGE)
    assert readme.read_text() == "no markers\n"
    assert join(tables, tables.parent / "absent.md") == (tables / "README.md", tables / PAGE)


def test_a_readme_in_another_encoding_keeps_its_bytes(shown: Path) -> None:
    readme = shown.parent / "README.md"
    readme.write_bytes(b"Gr\xfc\xdfe\n")
    join(shown, readme)
    assert readme.read_bytes() == b"Gr\xfc\xdfe\n"
    readme.write_bytes(b"Gr\xfc\xdfe\n%s\n%s\n" % (BEGIN.encode(), END.encode()))
    join(shown, readme)
    text = readme.read_bytes()
    assert text.startswith(b"Gr\xfc\xdfe\n") and b"(tables/ucf101/placement.png)" in text


@pytest.mark.parametrize("text", [BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_markers_that_are_no_pair(shown: Path, text: str) -> None:
    readme = shown.parent / "README.md"
    readme.write_text(text)
    with pytest.raises(UserError, match=r"README\.md needs one"):
        join(shown, readme)
    assert readme.read_text() == text


def test_command_line(tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--tables={tables}", f"--readme={tmp_path / 'README.md'}"]) == 0
    assert capsys.readouterr().out == f"wrote {tables / 'README.md'}\nwrote {tables / PAGE}\n"
    assert main([f"--tables={tmp_path / 'nothing'}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no table in ") and error.count("\n") == 1
