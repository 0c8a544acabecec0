"""What the README shows runs."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_layers_example_runs() -> None:
    text = README.read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    found: dict[str, object] = {}
    exec(example, found)
    assert found["motion"].shape == (2, 128, 15, 28, 28)  # type: ignore[attr-defined]
    assert found["flow_x"].shape == (2, 32, 15, 28, 28)  # type: ignore[attr-defined]
