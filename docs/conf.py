"""Sphinx's settings; `make docs` builds the site. Its sources are this folder, the published pages
of tables/ and the pages of the root, each where it lies, so that links hold here and there."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

import repflow_pl  # noqa: E402
from docs.blocks import executed  # noqa: E402
from docs.programs import options_page  # noqa: E402

OPTIONS = "<!-- every option -->"

project = "repflow_pl"
author = "The repflow-pl authors"
copyright = author
release = repflow_pl.__version__
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "tables/*.md",
    "tables/[!y]*/*.md",  # without tables/yours/
    "repflow_pl/report/paper_figures/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = ["tables/runs"]
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # the page that joins all tables starts them at the third level
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"repflow_pl {release}"
html_extra_path = ["entry"]
html_copy_source = False


def read(app: Any, name: str, source: list[str]) -> None:
    """What is made when the site is built: options from the parsers, what code blocks print."""
    if name.startswith("docs/"):
        logging.disable(logging.INFO)  # of what a page trains
        page = executed(source[0])
        logging.disable(logging.NOTSET)
        source[0] = page.replace(OPTIONS, options_page()) if OPTIONS in page else page


def attribute(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Napoleon takes what stands before a colon in a field's docstring for its type: give none."""
    if what in ("attribute", "data", "property") and lines:
        lines[0] = f": {lines[0]}"


def setup(app: Any) -> None:
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", attribute, priority=400)  # napoleon's is 500
