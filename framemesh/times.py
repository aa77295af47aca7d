"""Times as a user writes them."""

import re
from datetime import UTC, datetime, timedelta

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2262, 4, 11, tzinfo=UTC)
"""All times that a frame's id can tell."""

_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_time(text: str, *, now: datetime) -> datetime:
    """A time such as `2h` (ago), `2026-01-31` or `2026-01-31T07:30+09:00`; without a zone it is UTC.

    Raises:
        ValueError: It is none of these; the message says what to write.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time: write how long ago (90s, 15m, 2h, 7d), or 2026-01-31T07:30 (UTC)"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
