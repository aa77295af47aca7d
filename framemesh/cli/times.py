"""Times in a command's options."""

from datetime import datetime

import typer

from framemesh import times


def parse_time(text: str, *, now: datetime) -> datetime:
    """See `framemesh.times.parse_time`.

    Raises:
        BadParameter: It is no time.
    """
    try:
        return times.parse_time(text, now=now)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
