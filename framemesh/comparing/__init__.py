"""Two models over the same stored frames: `compare` asks the lake's tables, and returns a `Comparison`."""

from framemesh.comparing.comparing import OnProgress, compare
from framemesh.comparing.comparison import Comparison, Side, Task

__all__ = ["Comparison", "OnProgress", "Side", "Task", "compare"]
