"""What a source gives, before it is made into the picture that is sent."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from av.video.frame import VideoFrame

from ingest.pictures import Picture


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture as it comes.

    Attributes:
        content: An encoded picture where the source gives such, which may pass byte for byte; else a decoded frame.
        captured_ns: When it was taken by the camera's own clock, in Unix nanoseconds; none where it doesn't tell.
        rotation: Degrees counter-clockwise by which a decoded frame must be turned to be upright: 0, 90, 180 or -90.
        at_seconds: Its place in the source's own time, from wherever that begins; none where there is no such time.
    """

    content: Picture | VideoFrame
    captured_ns: int | None = None
    rotation: int = 0
    at_seconds: float | None = None


class EndOfSource(Exception):  # noqa: N818 - it is no error
    """What is shown once has been shown."""


class Stalled(Exception):  # noqa: N818 - as others say it
    """A source that is open gives nothing.

    Args:
        words: For people.
        silent_seconds: For how long.
    """

    def __init__(self, words: str, silent_seconds: float) -> None:
        super().__init__(words)
        self.silent_seconds = silent_seconds


class Timing(Enum):
    """Who says when a source's next shot is due."""

    LIVE = "live"
    """The camera: shots are read as they come, and only the newest counts."""
    TIMED = "timed"
    """The shots' own time. Every shot counts."""
    PACED = "paced"
    """The rate asked for. Every shot counts."""


class Source(Protocol):
    """One camera's shots. Reading blocks, and may decode: do it in a thread, one read at a time."""

    @property
    def timing(self) -> Timing:
        """When its shots are due."""

    @property
    def patience_seconds(self) -> float | None:
        """After how long a read counts as stuck; none where it may wait for ever."""

    def read(self) -> Shot | None:
        """The next shot; none where there is none at present, and asking again later helps.

        Raises:
            EndOfSource: There will be no more.
            Stalled: Nothing has come for as long as it may take.
            InvalidImageError: The next one is broken; reading again gives the one after.
            ImageTooLargeError: As above, for one over the limits.
            SourceUnavailableError: It gives nothing more, or not at present: close it and open it again.
            ConfigurationError: As above, and it needs somebody to mend it.
        """

    def close(self) -> None:
        """Give back what it holds. Call it when no read is under way."""
