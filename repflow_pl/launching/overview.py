"""What runs that are made side by side are at: one live table, or plain lines."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text


class Overview:
    """On a terminal the last line of each run, renewed in place; elsewhere every line."""

    def __init__(self, console: Console, runs: int) -> None:
        self.console = console
        self.runs = runs
        self.last: dict[int, str] = {}
        self.head = f"0 of {runs} runs made"
        self.live = Live(console=console, transient=True) if console.is_terminal else None

    def __enter__(self) -> Overview:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.stop()

    def tell(self, slot: int, line: str) -> None:
        """A run on this slot printed a line."""
        if self.live is None:
            self.console.print(line, markup=False)
        elif " · epoch " in line:
            self.last[slot] = line
            self._renew()
        else:
            self.live.console.print(line, markup=False)  # stays, above the table

    def free(self, slot: int, ended: int, failed: int) -> None:
        """The run on this slot has ended."""
        self.last.pop(slot, None)
        self.head = f"{ended} of {self.runs} runs made" + (f", {failed} FAILED" if failed else "")
        self._renew()

    def _renew(self) -> None:
        if self.live:
            lines = [self.last[slot] for slot in sorted(self.last)]
            texts = [Text(line, no_wrap=True, overflow="ellipsis") for line in [self.head, *lines]]
            self.live.update(Group(*texts), refresh=True)
