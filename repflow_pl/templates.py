"""Pages for a browser, from the templates in a part's folder web/."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from repflow_pl.extras import load

if TYPE_CHECKING:
    from jinja2 import Template


@cache
def template(part: str, name: str) -> Template:
    """A Jinja template of a part of the package, as "report"; what it does not know is an error."""
    jinja2 = load("jinja2")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(f"repflow_pl.{part}", "web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found: Template = environment.get_template(name)
    return found
