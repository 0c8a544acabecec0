"""The results as pages for a browser: whole without a network, and clicked in a real browser."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repflow_pl.report.__main__ import main
from repflow_pl.report.blocks import blocks, title
from repflow_pl.report.fields_page import (
    NAME,
    Seen,
    fields_csv,
    fields_markdown,
    fields_picture,
)
from repflow_pl.report.page import write_page
from repflow_pl.report.site import write_site
from tests.conftest import PHONE
from tests.report.conftest import cells_of

pytestmark = pytest.mark.long

PUBLISHED = Path(__file__).parents[2] / "tables"


def give_fields(tables: Path) -> None:
    """A page of flow fields, which none of the published ones is."""
    picture = np.zeros((8, 8, 3), np.uint8)
    seen = [
        Seen("After block 3", state, np.array([1.0, 2.0]), np.array([0.1, 0.2]), (picture,))
        for state in (False, True)
    ]
    page, png = fields_markdown("Fields", seen, ["Invented."]), (picture,)
    files = page, fields_csv(seen), fields_picture("Fields", png, png, seen)
    write_page(tables / "motion_shapes" / NAME, *files)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given") / "tables"
    shutil.copytree(PUBLISHED, folder, ignore=shutil.ignore_patterns("runs", "yours"))
    give_fields(folder)
    return folder


@pytest.fixture(scope="module")
def site(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    first, count = write_site(tables, out)
    assert first == out / "index.html" and count == len(list(out.rglob("*.html")))
    return out


def pages_of(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


# --- the files


@dataclass
class Read(HTMLParser):
    """What a page refers to, and the text of its tables' cells."""

    refers: list[str] = field(default_factory=list)
    lines: list[list[str]] = field(default_factory=list)
    inside: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.refers += [value for name, value in attrs if name in ("href", "src") and value]
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th"):
            self.inside = True
            self.lines[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.lines[-1][-1] += data


def read(page: Path) -> Read:
    found = Read()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def test_every_link_leads_to_a_file_of_the_folder(site: Path) -> None:
    for page in pages_of(site):
        for target in read(page).refers:
            if not target.startswith(("data:", "https://")):
                place = (page.parent / target).resolve()
                assert place.is_file() and place.is_relative_to(site.resolve()), (page, target)
    everywhere = "".join(path.read_text(encoding="utf-8") for path in pages_of(site))
    assert not re.search(r"<(script|link|img)[^>]*https?:", everywhere), "no network is needed"


def test_every_page_is_reached(site: Path) -> None:
    reached, left = set(), {site.resolve() / "index.html"}
    while left:
        page = left.pop()
        reached.add(page)
        targets = (t for t in read(page).refers if t.endswith(".html"))
        left |= {(page.parent / target).resolve() for target in targets} - reached
    assert reached == {page.resolve() for page in pages_of(site)}


def test_a_page_says_what_the_markdown_says(site: Path, tables: Path) -> None:
    compared = 0
    for source in (*tables.glob("*/*.md"), tables / "CLAIMS.md"):
        page = site / source.relative_to(tables).with_suffix(".html")
        expected = cells_of(source.read_text(encoding="utf-8"))
        assert read(page).lines == expected, page
        compared += len(expected)
    assert compared > 300


def test_what_a_user_wrote_is_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    text = f"# A {evil}\n\n- {evil}\n\n| row | n |\n| :-- | --: |\n| {evil} | 1 |\n"
    for link in (
        "[gone](../other/gone.md)",
        "[kept](https://example.org)",
        "[secret](../../secret)",
    ):
        text += f"\n{link}\n"
    (tmp_path / "secret").write_text("not of the tables")
    write_page(tmp_path / "tables" / "set" / "placement", text, "row,n\n", b"")
    write_site(tmp_path / "tables", tmp_path / "out")
    for name in ("index.html", "set/placement.html"):
        page = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert evil not in page and "&lt;script&gt;" in page
    targets = read(tmp_path / "out" / "set" / "placement.html").refers
    assert "https://example.org" in targets and not [t for t in targets if "gone" in t]
    assert not [t for t in targets if "secret" in t], "nothing outside the tables is taken along"


def test_blocks_of_a_page() -> None:
    prose, grid = blocks("# T *x*\n\ntext\n\n| a | b |\n| :-- | --: |\n| *g* | |\n| c | 1 |\n")
    assert title([prose, grid]) == "T x"
    assert grid.numeric == (False, True)  # type: ignore[union-attr]
    assert [line.is_heading for line in grid.lines] == [True, False]  # type: ignore[union-attr]
    assert blocks("") == []


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables, out = tmp_path / "tables", tmp_path / "html"
    give_fields(tables)
    assert main(["html", "--tables", str(tables), "--out", str(out)]) == 0
    assert f"open {out / 'index.html'} in a browser" in capsys.readouterr().out
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert main(["html", "--tables", str(tables), "--out", str(out)]) == 0
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert main(["html", "--tables", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "no table in" in capsys.readouterr().err
    assert main(["html", "--tables", str(tables), "--out", str(out / "style.css")]) == 2
    assert "cannot write" in capsys.readouterr().err


# --- in a browser


LOOK = """
const images = [...document.images];
images.forEach((image) => { image.loading = "eager"; });
await Promise.allSettled(images.map((image) => image.decode()));
return {
  broken: images.filter((image) => !image.naturalWidth).map((image) => image.src),
  wide: document.documentElement.scrollWidth,
  letters: parseFloat(getComputedStyle(document.body).fontSize),
  targets: [...document.querySelectorAll("button")].map((b) => b.getBoundingClientRect().height),
  tables: document.querySelectorAll("table").length,
};
"""


OF_ITS_OWN = ("CLAIMS", "index", "paper_figures")


def kind_of(page: Path) -> str:
    """What has the same parts and columns."""
    first, _, last = page.stem.partition("_")
    if page.parent.name == "bench":
        return f"bench_{first}"
    if page.stem in OF_ITS_OWN:
        return page.stem
    return first if first in ("runtime", "fields") else last or "table"


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_pages_open_on_a_phone(site: Path, browser: Any, every: bool) -> None:
    """The longest of each kind, or all."""
    pages = pages_of(site)
    if not every:
        longest = sorted(pages, key=lambda page: page.stat().st_size)
        pages = list({kind_of(page): page for page in longest}.values())
        kinds = {"bench_data", "bench_flow", "bench_training", "classes", "curves", "fields"}
        assert {*map(kind_of, pages)} == kinds | {"runtime", "table", *OF_ITS_OWN}
    tables = 0
    for page in pages:
        browser.get(page.as_uri())
        script = f"return (async () => {{{LOOK}}})()"
        seen = browser.execute_script(script)
        assert browser.get_log("browser") == [], page
        assert not seen["broken"], page
        assert seen["wide"] == PHONE, f"{page} is wider than a phone"
        assert seen["letters"] >= 16 and min(seen["targets"], default=44) >= 44
        tables += seen["tables"]
    assert tables > (60 if every else 15)


CELLS = """
const table = document.querySelectorAll("main table")[arguments[0]];
return [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent));
"""


def click(browser: Any, table: int, column: int) -> list[list[str]]:
    """The table's cells after a click on a column's title."""
    button = browser.execute_script(
        "return document.querySelectorAll('main table')[arguments[0]]"
        ".tHead.rows[0].cells[arguments[1]].firstElementChild",
        table,
        column,
    )
    browser.execute_script("arguments[0].scrollIntoView({inline: 'center'})", button)
    button.click()
    found: list[list[str]] = browser.execute_script(CELLS, table)
    return found


def test_a_click_sorts_a_table(site: Path, browser: Any) -> None:
    browser.get(next(site.glob("motion_shapes*/sota.html")).as_uri())
    before = browser.execute_script(CELLS, 0)
    rows = [line for line in before if len(line) > 1]
    assert len(rows) < len(before), "it has groups"

    measured = [line for line in rows if line[1] != "missing"]
    missing = [line for line in rows if line[1] == "missing"]  # these stand last, either way

    def top1(line: list[str]) -> float:
        return float(line[1].split(" ")[0])

    down = click(browser, 0, 1)
    assert down == sorted(measured, key=top1, reverse=True) + missing
    up = click(browser, 0, 1)
    assert up == sorted(measured, key=top1) + missing
    assert click(browser, 0, 1) == before, "as it was"
    names = click(browser, 0, 0)
    assert sorted(line[0].lower() for line in names)[0] == names[0][0].lower()
    assert sorted(names) == sorted(rows)
    # Figures of the paper, some of which are not known: these stand last, too.
    column = next(k for k in range(len(rows[0])) if {line[k] for line in measured} >= {"–"})
    for _ in range(2):
        shown = [line[column] for line in click(browser, 0, column)]
        first = shown.index("–")
        assert first > 0 and set(shown[first:]) == {"–"}
        values = [float(text.rstrip("†")) for text in shown[:first]]
        assert values in (sorted(values), sorted(values, reverse=True))
    assert browser.get_log("browser") == []


def test_hours_and_parts_are_sorted_by_what_they_are(
    site: Path, tmp_path: Path, browser: Any
) -> None:
    page = (site / "motion_shapes" / "placement.html").read_text("utf-8")
    cells = ("12 min", "0.5 h", "59 s", "1/4", "1/20", "2.5 (1.0–3.0)", "–")
    rows = "".join(f"<tr><td>{cell}</td></tr>" for cell in cells)
    head = '<thead><tr><th class="figure"><button>it</button></th></tr></thead>'
    made = f"<main><table>{head}<tbody>{rows}</tbody></table></main>"
    folder = tmp_path / "one"
    folder.mkdir()
    for name in ("sort.js", "style.css"):
        shutil.copy(site / name, tmp_path)
    (folder / "page.html").write_text(re.sub("(?s)<main>.*</main>", made, page), "utf-8")
    browser.get((folder / "page.html").as_uri())
    down = [line[0] for line in click(browser, 0, 0)]
    assert down == ["0.5 h", "12 min", "59 s", "2.5 (1.0–3.0)", "1/4", "1/20", "–"]


def test_a_sorted_line_says_what_it_is_of(site: Path, browser: Any) -> None:
    browser.get((site / "CLAIMS.html").as_uri())
    before = browser.execute_script(CELLS, 0)
    assert not before[1][0] and before[0][0], "a claim on two data sets is named once"
    effects = click(browser, 0, 4)
    assert all(line[0] for line in effects)
    named = {(line[0], line[2]) for line in effects}
    assert len(named) == len(before) and (before[0][0], before[1][2]) in named
    values = [float(line[4].split(" ")[0].replace("−", "-")) for line in effects]
    assert values == sorted(values, reverse=True) and min(values) < 0 < max(values)
    click(browser, 0, 4)
    assert click(browser, 0, 4) == before
