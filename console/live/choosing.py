"""Which frame to show with which answers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from console.live.recent import KEEP_NS, Said, Shot

_BEHIND_NS = 2_000_000_000
_WAIT_NS = 700_000_000


@dataclass(frozen=True, slots=True)
class Choice:
    """A frame, and what each model says: of this very frame, or else of the last one before it."""

    shot: Shot
    said: tuple[Said, ...]

    @property
    def signature(self) -> tuple[int, ...]:
        """Differs where anything to be seen does."""
        return (self.shot.number, *(one.number for one in self.said))


def choose(shots: Sequence[Shot], said: Mapping[str, Sequence[Said]], *, not_before_ns: int = 0) -> Choice | None:
    """The newest frame of which every model that keeps up has spoken.

    A frame that only some have spoken of is taken where that spares 0.7 s, and the newest one where no model has spoken
    of any of the last 2 s: a model that is behind or away does not hold the picture up.

    Args:
        shots: A camera's frames, the newest first.
        said: What each chosen model said of them, the newest first.
        not_before_ns: No older frame than that: pictures never go back.
    """
    if not shots:
        return None
    newest_ns = shots[0].captured_ns
    by_frame = {model: {one.frame_id: one for one in answers} for model, answers in said.items()}
    keeping_up = [
        model for model, answers in said.items() if answers and answers[0].captured_ns > newest_ns - _BEHIND_NS
    ]
    fresh = [shot for shot in shots if shot.captured_ns >= max(not_before_ns, newest_ns - _BEHIND_NS)]
    heard = [(shot, sum(shot.frame_id in by_frame[model] for model in keeping_up)) for shot in fresh]
    spoken_of = next((shot for shot, count in heard if count), None)
    by_all = next((shot for shot, count in heard if count == len(keeping_up)), None)
    shot = spoken_of or shots[0]
    if by_all is not None and by_all.captured_ns >= shot.captured_ns - _WAIT_NS:
        shot = by_all
    found = (by_frame[model].get(shot.frame_id) or _before(shot, answers) for model, answers in said.items())
    return Choice(shot, tuple(one for one in found if one is not None))


def _before(shot: Shot, answers: Sequence[Said]) -> Said | None:
    return next((one for one in answers if 0 <= shot.captured_ns - one.captured_ns <= KEEP_NS), None)
