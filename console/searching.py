"""What is looked for in the lake, as a page's address tells it and back. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from console.texts import Translate, marked
from framemesh.finding import Wanted
from framemesh.frames import FrameId
from framemesh.names import MAX_MODEL_LENGTH, is_label
from framemesh.times import EARLIEST, LATEST, parse_time

LAKE: Final = "/lake"
MAX_LABEL_LENGTH: Final = 200


_TIMES = {
    "": marked("Any time"),
    "15m": marked("Last 15 minutes"),
    "1h": marked("Last hour"),
    "1d": marked("Last 24 hours"),
    "7d": marked("Last 7 days"),
}


def times(translate: Translate) -> dict[str, str]:
    """How long ago frames may have been taken, to choose from; empty means ever."""
    return {since: translate(title) for since, title in _TIMES.items()}


@dataclass(frozen=True, slots=True)
class Search:
    """A search, as people write it.

    Attributes:
        cameras: Only of these; none means all.
        since: Taken since, as `framemesh.times` reads it; empty means ever since.
        until: Taken until, alike; empty means until now.
        label: A part of what was seen.
        min_score: The least score of it.
        models: Only what these saw.
        before: The last frame of the page before.
    """

    cameras: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    label: str = ""
    min_score: float = 0.0
    models: tuple[str, ...] = ()
    before: FrameId | None = None

    def wanted(self, now: datetime) -> Wanted:
        """For the tables.

        Raises:
            ValueError: A time is none, or the end is before the beginning; the message says what to write.
        """
        since, until = (parse_time(text, now=now) if text else None for text in (self.since, self.until))
        if since is not None and until is not None and until < since:
            raise ValueError(marked("The end is before the beginning: swap them, or leave one of them empty."))
        return Wanted(
            cameras=self.cameras,
            since=max(since or EARLIEST, EARLIEST),
            until=min(until or LATEST, LATEST),
            label=self.label,
            min_score=self.min_score,
            models=self.models,
        )

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves anything out."""
        return replace(self, before=None) != Search()

    def address(self) -> str:
        """Of the page that shows what is found."""
        said = {
            "camera": list(self.cameras),
            "since": self.since,
            "until": self.until,
            "label": self.label,
            "min_score": f"{self.min_score:g}" if self.min_score else "",
            "model": list(self.models),
            "before": str(self.before) if self.before else "",
        }
        query = urlencode({name: value for name, value in said.items() if value}, doseq=True)
        return f"{LAKE}?{query}" if query else LAKE


def search_of(query: QueryParams) -> Search:
    """What an address looks for; what it says of it that can't be is passed over."""
    return Search(
        cameras=tuple(name for name in query.getlist("camera") if is_label(name)),
        since=query.get("since", ""),
        until=query.get("until", ""),
        label=query.get("label", "")[:MAX_LABEL_LENGTH],
        min_score=_share(query.get("min_score", "")),
        models=tuple(name for name in query.getlist("model") if is_label(name, max_length=MAX_MODEL_LENGTH)),
        before=FrameId.parse(query.get("before", "")),
    )


def _share(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        return 0.0
    return score if 0 <= score <= 1 else 0.0
