"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How bad it is."""

    FINE = "fine"
    ADVICE = "advice"
    """It works, and may not always."""
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's line.

    Attributes:
        check: What was looked at, in a few words that never change.
        state: How bad it is.
        found: What was tried, and what came of it. Never a secret.
        mend: What to do about it; empty where all is fine.
    """

    check: str
    state: State
    found: str
    mend: str = ""


def fine(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, State.FINE, found)


def advice(check: str, found: str, mend: str) -> Finding:
    """It works, and may not always."""
    return Finding(check, State.ADVICE, found, mend)


def wrong(check: str, found: str, mend: str) -> Finding:
    """It doesn't work."""
    return Finding(check, State.WRONG, found, mend)
