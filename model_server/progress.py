"""What is told of a preparation while it goes on."""

from collections.abc import Callable
from typing import Literal

Step = Literal["downloading", "standing_in", "exporting", "uploading"]

Tell = Callable[[Step, float], None]
"""Takes the step that goes on, and how much of it is done, from 0 to 1."""


def nobody(step: Step, share: float) -> None:
    """For preparations that nobody follows."""
