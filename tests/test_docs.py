"""The site's pages: their links lead somewhere, their code runs, and all of it builds."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from docs.blocks import Block, blocks, executed, prose, run
from docs.programs import Program, options_page, programs
from tests.programs import CHECKOUT

DOCS = sorted((CHECKOUT / "docs").glob("*.md"))
PAGES = [*DOCS, *sorted(CHECKOUT.glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def named(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


# --- links


def anchors(page: str) -> set[str]:
    """What a page's headings can be linked by, as on GitHub."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(read(page))):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(read(target)), link


@pytest.mark.parametrize("page", [page for page in DOCS if page.stem != "index"], ids=named)
def test_every_page_is_in_the_contents(page: Path) -> None:
    index = read(CHECKOUT / "docs" / "index.md")
    contents = [block.text for block in blocks(index) if block.language == "{toctree}"]
    assert page.stem in "\n".join(contents).split()


# --- code


def test_blocks_are_found_run_and_shown_with_what_they_print() -> None:
    page = """\
```python
x = 2
```

```{include} other.md
:start-after: x
```

```python
print(x + 1)
```

```python
# experiments/table_x.py
raise ValueError
```
"""
    assert [block.language for block in blocks(page)] == ["python", "{include}"] + 2 * ["python"]
    assert [block.file for block in blocks(page)] == [None, None, None, "experiments/table_x.py"]
    assert executed(page) == page.replace(
        "print(x + 1)\n```", "print(x + 1)\n```\n\n```text\n3\n```"
    )
    with pytest.raises(ZeroDivisionError):
        executed("```python\n1 / 0\n```\n")


def test_every_block_is_of_a_kind_that_is_run_or_checked() -> None:
    kinds = {block.language for page in PAGES for block in blocks(read(page))}
    assert kinds <= {"python", "sh", "diff", "text", "{toctree}", "{include}", "{eval-rst}"}
    for page in PAGES:
        assert read(page).count("```") == 2 * len(blocks(read(page))), page


def code(page: Path) -> list[Block]:
    """The blocks that the build runs; without those of packages that only the build needs."""
    found = [b for b in blocks(read(page)) if b.language == "python" and b.file is None]
    return [b for b in found if "import timm" not in b.text or importlib.util.find_spec("timm")]


@cache
def printed(page: Path) -> list[str]:
    """By each block in turn."""
    names: dict[str, object] = {"__name__": "page"}
    return [run(block, names) for block in code(page)]


@pytest.mark.long
@pytest.mark.parametrize("page", [page for page in DOCS if code(page)], ids=named)
@pytest.mark.filterwarnings("ignore")
def test_the_code_of_a_page_runs(page: Path) -> None:
    assert len(printed(page)) == len(code(page))


@pytest.mark.filterwarnings("ignore")
def test_the_layers_page_says_what_the_flow_means() -> None:
    first, second = printed(CHECKOUT / "docs" / "layer.md")[:2]
    assert first == "[2, 128, 15, 28, 28] [2, 32, 15, 28, 28]\n"
    ((right, down),) = re.findall(r"right (\S+), down (\S+)", second)
    assert abs(float(right) - 0.5) < 0.05 and abs(float(down)) < 0.05


# --- options


def test_the_page_of_options_has_every_program() -> None:
    assert Program("experiments/table_placement.py") in programs()
    page = options_page()
    for program in programs():
        assert f"`{program}" in page
    assert "| `--seeds SEEDS` | How many seeds for each row: 0 to SEEDS - 1. (default: 1) |" in page
    assert page.count("| `--recipe.epochs EPOCHS` |") < len(programs()) / 2, "sections are shared"


# --- the whole


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="needs the extra docs: make docs installs it")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs"]
    done = subprocess.run(
        [*command, ".", str(tmp_path)], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
    assert pages >= {named(page).replace(".md", ".html") for page in DOCS}
    assert pages >= {"index.html", "tables/CLAIMS.html", "tables/motion_shapes/placement.html"}
    assert "experiments/table_placement.py" in read(tmp_path / "docs" / "options.html")
