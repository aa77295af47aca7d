"""What is told of a training while it goes on: lines of JSON on standard output, for people and programs alike."""

import json
import sys
from typing import Any, Protocol


class Tell(Protocol):
    """Takes what happens: `step` says which thing, the others what of it."""

    def __call__(self, step: str, **facts: Any) -> None:
        """Tell it."""


def say(step: str, **facts: Any) -> None:
    """Print what happens."""
    sys.stdout.write(f"{json.dumps({'step': step, **facts})}\n")
    sys.stdout.flush()
