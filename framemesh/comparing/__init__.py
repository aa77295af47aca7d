"""Two models over the same stored frames: `compare` asks the lake's tables, and returns a `Comparison`."""

from framemesh.comparing.comparing import OnProgress, compare
from framemesh.comparing.comparison import Comparison, Side, Task
from framemesh.comparing.pairs import answering

__all__ = ["Comparison", "OnProgress", "Side", "Task", "answering", "compare"]
