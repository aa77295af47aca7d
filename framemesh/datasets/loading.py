"""A recipe as a `datasets.DatasetDict`, straight from the lake."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import datasets

from framemesh.datasets.choosing import Choosing
from framemesh.datasets.places import bucket
from framemesh.datasets.recipes import SPLITS, Recipe
from framemesh.datasets.reports import parse
from framemesh.datasets.rows import Sample, columns
from framemesh.datasets.sampling import Sampling
from framemesh.query import LakePlace, tables

T = TypeVar("T")


def load(
    recipe: Recipe | str | Path, *, lake: LakePlace | None = None, streaming: bool = False
) -> datasets.DatasetDict | datasets.IterableDatasetDict:
    """The dataset of a recipe, by split, without files of ours in between.

    Args:
        recipe: A recipe, or the path of a `recipe.json`.
        lake: Where the lake is; without it, where the environment says (`framemesh env`).
        streaming: Whether frames are fetched as they are asked for; otherwise they all come first, into the cache of
            `datasets`, which knows the recipe again.

    Raises:
        ConfigurationError: The environment names no lake.
        EmptyDatasetError, FrameNotFoundError, InvalidRequestError, ModelNotFoundError: No frame is what is wanted.
        LakeUnavailableError: The lake is away.
    """
    recipe = recipe.checked() if isinstance(recipe, Recipe) else parse(Path(recipe).read_bytes(), str(recipe)).recipe
    place = lake or LakePlace.from_environment(os.environ)
    with tables(place, as_of=recipe.as_of) as found:
        choosing = Choosing(found, recipe)
        there = Sampling(recipe, choosing).splits()
        features = datasets.Features._from_yaml_list(columns(recipe, choosing.classes))  # noqa: SLF001 - as of a card
    made: dict[str, Any] = {}
    kind = datasets.IterableDataset if streaming else datasets.Dataset
    for split in (name for name in SPLITS if name in there):
        made[split] = kind.from_generator(
            _examples, features=features, gen_kwargs={"recipe": recipe, "place": place, "split": split}, split=split
        )
    return datasets.IterableDatasetDict(made) if streaming else datasets.DatasetDict(made)


def _examples(recipe: Recipe, place: LakePlace, split: str) -> Iterator[dict[str, Any]]:
    with tables(place, as_of=recipe.as_of) as found:
        sampling = Sampling(recipe, Choosing(found, recipe))

        async def samples() -> AsyncGenerator[Sample, None]:
            async with aclosing(sampling.samples(bucket(place, place.frames_bucket), split=split)) as wanted:
                async for sample in wanted:
                    yield sample

        for sample in _from_thread(samples()):
            yield {"image": {"bytes": sample.body, "path": sample.file_name}, **sample.row}


def _from_thread(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """What an asynchronous generator yields, on an event loop of its own: a notebook has one that runs already."""
    with _loop_beside() as loop:
        try:
            while (item := asyncio.run_coroutine_threadsafe(_next(items), loop).result()) is not None:
                yield item
        finally:
            asyncio.run_coroutine_threadsafe(_closed(items), loop).result()


async def _next(items: AsyncGenerator[T, None]) -> T | None:
    return await anext(items, None)


async def _closed(items: AsyncGenerator[T, None]) -> None:
    await items.aclose()


@contextmanager
def _loop_beside() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="dataset", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
