"""What a program that works for others ends with, and what that tells whoever started it. Pure."""

from signal import SIGKILL

from framemesh.errors import (
    EXIT_CONFIGURATION,
    EXIT_TRY_AGAIN,
    ConfigurationError,
    FramemeshError,
    ModelUnavailableError,
)

KILLED = -SIGKILL
"""How Python spells the end of a program that was killed: where nobody did it, its machine had too little memory."""


def exit_code(error: FramemeshError) -> int:
    """What such a program ends with on an error, the words of which it has told."""
    return EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_TRY_AGAIN


def reported(code: int, told: str, **values: object) -> FramemeshError | None:
    """The error on which such a program has ended; none where it had no words for its end.

    Args:
        code: What it ended with; negative where a signal ended it.
        told: The words that it told of the error; empty where it told none.
        values: What the words name, for programs.
    """
    if not told or code not in {EXIT_CONFIGURATION, EXIT_TRY_AGAIN}:
        return None
    kind = ConfigurationError if code == EXIT_CONFIGURATION else ModelUnavailableError
    return kind(told, **values)
