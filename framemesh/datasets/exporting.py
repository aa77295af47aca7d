"""From a recipe to files, whole or not at all; the same files each time, or word of what has changed."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing, closing

from framemesh.datasets.cards import CARD, card
from framemesh.datasets.choosing import Choosing
from framemesh.datasets.places import Place, bucket, opened
from framemesh.datasets.recipes import Recipe
from framemesh.datasets.reports import RECIPE, DatasetReport, Document, dump
from framemesh.datasets.sampling import Sampling
from framemesh.datasets.tallying import Tally
from framemesh.datasets.writing import SHARD_BYTES, ImageFolder, Shards, Writer
from framemesh.errors import FramemeshError
from framemesh.query import LakePlace, tables

Tell = Callable[[int, int], None]
"""Told of how many frames of how many are done."""


class DatasetChangedError(FramemeshError):
    """A recipe makes another dataset now than it made before."""

    reason = "DATASET_CHANGED"


def export(
    out: str, document: Document, place: LakePlace, *, tell: Tell, shard_bytes: int = SHARD_BYTES
) -> DatasetReport:
    """Make a dataset.

    Args:
        out: A folder, or `lake://datasets/<name>/<version>`, where nothing is yet.
        document: The recipe; where it says what came out before, the same must come out again.
        place: The lake.
        tell: Told how far it is.
        shard_bytes: How large a shard becomes.

    Returns:
        What came out.

    Raises:
        ConfigurationError: Something is at `out` already, or it can't be written.
        DatasetChangedError: Something else would come out than before; the message says what.
        EmptyDatasetError, FrameNotFoundError, InvalidRequestError, ModelNotFoundError: No frame is what is wanted.
        LakeUnavailableError: The lake is away.
    """
    with tables(place, as_of=document.recipe.as_of) as found:
        choosing = Choosing(found, document.recipe)
        sampling = Sampling(document.recipe, choosing)
        if document.dataset is not None:
            _check_all_there(document.dataset, sampling.cameras())
        making = _Making(document, place, sampling, Tally(choosing.classes), choosing.count)
        return asyncio.run(making.make(out, tell, shard_bytes))


class _Making:
    def __init__(self, document: Document, place: LakePlace, sampling: Sampling, tally: Tally, count: int) -> None:
        self._recipe = document.recipe
        self._before = document.dataset
        self._place = place
        self._sampling = sampling
        self._tally = tally
        self._count = count

    async def make(self, out: str, tell: Tell, shard_bytes: int) -> DatasetReport:
        async with opened(out, self._place) as place:
            with closing(_writer(self._recipe, place, shard_bytes)) as writer:
                await self._write(writer, tell)
            report = self._tally.report(self._sampling.left_out)
            if self._before is not None and self._before.digest != report.digest:
                raise DatasetChangedError(_what_changed(self._before, report))
            await place.put(CARD, card(self._recipe, report).encode())
            await place.put(RECIPE, dump(Document(self._recipe, report)))
        return report

    async def _write(self, writer: Writer, tell: Tell) -> None:
        done = 0
        async with aclosing(self._sampling.samples(bucket(self._place, self._place.frames_bucket))) as samples:
            async for sample in samples:
                await writer.add(sample)
                self._tally.add(sample, self._sampling.block(sample))
                done += 1
                left_out = self._sampling.left_out
                tell(done + left_out.gone + left_out.near_borders, self._count)
        await writer.finish()


def _writer(recipe: Recipe, place: Place, shard_bytes: int) -> Writer:
    return ImageFolder(place) if recipe.format == "imagefolder" else Shards(place, shard_bytes=shard_bytes)


def _check_all_there(before: DatasetReport, now: Counter[str]) -> None:
    """Pass where as many frames of each camera are there as were.

    Raises:
        DatasetChangedError: Some are missing.
    """
    missing = [
        f"{now[camera]:,} of {then.frames:,} frames of camera {camera} are left"
        for camera, then in before.cameras.items()
        if now[camera] < then.frames
    ]
    if missing:
        raise DatasetChangedError(
            f"the lake no longer has all that this recipe chose: {'; '.join(missing)}. Retention takes the oldest; "
            "the same options without --recipe make a dataset of what is left"
        )


def _what_changed(before: DatasetReport, now: DatasetReport) -> str:
    changed = [
        f"camera {camera} had {then.frames:,} frames and has {found.frames if found else 0:,}"
        if found is None or found.frames != then.frames
        else f"the {then.frames:,} frames of camera {camera} have other labels, or other bytes"
        for camera, then in before.cameras.items()
        if (found := now.cameras.get(camera)) != then
    ]
    changed += [f"camera {camera} is new" for camera in now.cameras if camera not in before.cameras]
    return (
        f"this recipe makes another dataset now, {now.digest} instead of {before.digest}: "
        f"{'; '.join(changed) or 'the classes are in another order'}"
    )
