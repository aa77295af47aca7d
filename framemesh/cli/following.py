"""What becomes of a wish, shown until it is fulfilled or has failed; on stderr, as it is no result."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

WAITS = "waits for a deployer to take it up"


class Following:
    """Shows one wish: a bar on a terminal, elsewhere a line for each change of its state.

    Args:
        name: Of the model or training.
        progress: Which shows it where there is a terminal.
    """

    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._progress = progress
        self._task = progress.add_task("", total=None, name=name)
        self._said = ""

    def show(self, state: str, share: float, *, over: bool) -> None:
        """Show its state in words, and how much is done, from 0 to 1; what is `over` is the caller's to tell."""
        self._progress.update(self._task, description=state, completed=share, total=1)
        if state != self._said and not over and not self._progress.console.is_terminal:
            self.say(f"{self._name}: {state}")
        self._said = state

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._progress.console.print(Text(line), soft_wrap=True)


@contextmanager
def following(name: str) -> Iterator[Following]:
    """Show a wish around the block."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.fields[name]}"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Following(name, progress)
