"""From a recipe to samples: the frames that were chosen, dealt out to splits, with their pictures and rows."""

import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from framemesh.datasets.choosing import Choosing, Chosen
from framemesh.datasets.fetching import fetched
from framemesh.datasets.recipes import Recipe
from framemesh.datasets.reports import LeftOut
from framemesh.datasets.rows import Rows, Sample
from framemesh.datasets.splitting import Splitter
from framemesh.lake import Lake


class Sampling:
    """The samples of a recipe.

    Args:
        recipe: What is wanted.
        choosing: Its frames.
    """

    def __init__(self, recipe: Recipe, choosing: Choosing) -> None:
        self._choosing = choosing
        self._rows = Rows(recipe, choosing.classes)
        self._splitter = Splitter(recipe.split)
        self._gone = choosing.gone
        self._near_borders = 0

    @property
    def left_out(self) -> LeftOut:
        """What was chosen and is not among the samples that came."""
        return LeftOut(self._gone, self._near_borders)

    def cameras(self) -> Counter[str]:
        """How many frames of each camera there will be at most."""
        return Counter(chosen.camera for chosen, _ in self._placed())

    def splits(self) -> set[str]:
        """The splits to which frames are dealt out."""
        return {split for _, split in self._placed()}

    def block(self, sample: Sample) -> int:
        """Number of the block of its camera in which a sample lies."""
        return self._splitter.block(sample.row["capture_time_ns"])

    async def samples(self, frames: Lake, *, split: str = "") -> AsyncGenerator[Sample, None]:
        """Yield each sample, in the same order each time.

        Args:
            frames: The bucket of frames.
            split: Only those of this one; empty means all.

        Raises:
            LakeUnavailableError: The lake is away, and was for a minute.
        """
        self._gone, self._near_borders = self._choosing.gone, 0
        wanted = (each for each in self._placed() if split in {"", each[1]})
        async with aclosing(fetched(frames, wanted, lambda each: each[0].object_key)) as found:
            async for (chosen, place), body in found:
                if body is None:
                    self._gone += 1
                else:
                    yield self._rows.sample(chosen, place, body, hashlib.sha256(body).hexdigest())

    def _placed(self) -> Iterator[tuple[Chosen, str]]:
        """The frames with their splits."""
        self._near_borders = 0
        for chosen in self._choosing.frames():
            split = self._splitter.place(chosen.camera, chosen.captured_ns)
            if split is None:
                self._near_borders += 1
            else:
                yield chosen, split
