"""What runs that are made elsewhere are at: one live table, or plain lines."""

from __future__ import annotations

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

    def close(self) -> None:
        """Leave the terminal to others."""
        if self.live:
            self.live.stop()

    def tell(self, number: int, line: str) -> None:
        """The run of this number printed a line."""
        if self.live and " · epoch " in line:
            self.last[number] = line
            self._renew()
        else:
            self.console.print(line)  # stays, above a live table

    def end(self, number: int, ended: int, failed: int) -> None:
        """The run of this number has ended."""
        self.last.pop(number, None)
        self.head = f"{ended} of {self.runs} runs made" + (f", {failed} FAILED" if failed else "")
        if self.live and self.live.is_started:
            self._renew()

    def _renew(self) -> None:
        assert self.live is not None
        self.live.start()  # not before: a run in this process shows a bar of its own
        lines = [self.head, *(self.last[number] for number in sorted(self.last))]
        texts = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines]
        self.live.update(Group(*texts), refresh=True)
