"""How long frames are kept: what an operator writes, and what follows from it. Pure: the time is an argument."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from framemesh.names import is_label

OTHERS = "*"
HOUR = timedelta(hours=1)
EARLIEST = datetime.min.replace(tzinfo=UTC)

_LIMIT = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(h|d|MiB|GiB|TiB)")
_SPANS = {"h": "hours", "d": "days"}
_SIZES = {"MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of a camera's frames is kept: by age or by size, the other being without limit.

    Attributes:
        span: Frames are kept for so long at least, and an hour more at most.
        size_bytes: So much of the newest whole hours is kept, and the hour under way whatever it takes.
    """

    span: timedelta | None = None
    size_bytes: float = math.inf

    def first_kept(self, sizes: Mapping[datetime, int], now: datetime) -> datetime:
        """The first hour that is kept; all before it go.

        Args:
            sizes: What the frames of each hour take, in bytes; may be empty where only age counts.
            now: The time, in UTC.
        """
        if self.span is not None:
            return hour_of(now - self.span) if now - EARLIEST > self.span else EARLIEST
        left = self.size_bytes
        for hour in sorted(sizes, reverse=True):
            left -= sizes[hour]
            if left < 0 and hour < hour_of(now):
                return hour + HOUR
        return EARLIEST


def parse(text: str) -> dict[str, Limit]:
    """Limits by camera, that of all the others under `*`.

    Raises:
        ValueError: It is written differently; the message says how.
    """
    limits: dict[str, Limit] = {}
    for part in filter(None, text.split(",")):
        camera, _, amount = (word.strip() for word in part.partition("="))
        written = _LIMIT.fullmatch(amount)
        if written is None or not float(written[1]):
            raise ValueError(
                f"{part!r} is no limit: write gate=7d, gate=12h or gate=50GiB, and * for all other cameras"
            )
        if camera != OTHERS and not is_label(camera):
            raise ValueError(f"{camera!r} can't be a camera: use a-z, 0-9 and -, or * for all other cameras")
        if camera in limits:
            raise ValueError(f"{camera!r} has two limits: give it one")
        number, unit = float(written[1]), written[2]
        if unit in _SPANS:
            limits[camera] = Limit(span=timedelta(**{_SPANS[unit]: min(number, 1_000_000)}))
        else:
            limits[camera] = Limit(size_bytes=number * _SIZES[unit])
    return limits


def hour_of(time: datetime) -> datetime:
    """The hour that a time lies in."""
    return time.replace(minute=0, second=0, microsecond=0)
