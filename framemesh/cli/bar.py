"""How far a long command is: a bar on a terminal, a line every few seconds elsewhere; on stderr, as it is no result."""

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

_LINE_SECONDS = 5.0


class Bar:
    """Shows how many frames are done.

    Args:
        title: What is being done.
    """

    def __init__(self, title: str) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task(title, total=None, rate="")
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, done: int, total: int, *, waiting: str = "") -> None:
        """Show that so many of all are done; `waiting` is why there are no more, where something holds them up."""
        now = time.monotonic()
        rate = done / max(now - self._began, 1e-3)
        if self._console.is_terminal:
            words = f"waits: {waiting[:60]}" if waiting else f"{rate:.0f} frames/s"
            self._progress.update(self._task, completed=done, total=total, rate=words)
        elif now > self._told + _LINE_SECONDS:
            self._told = now
            words = waiting or f"{(total - done) / max(rate, 1e-3):,.0f} s left"
            self._console.print(Text(f"{done:,} of {total:,} frames, {rate:.0f} a second; {words}"), soft_wrap=True)
