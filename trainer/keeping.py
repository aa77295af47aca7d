"""Folders in the lake: checkpoints, trained weights, datasets. A manifest of digests, written last, makes one whole."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from framemesh import digests
from framemesh.errors import ConfigurationError, FrameNotFoundError
from framemesh.lake import Lake
from trainer.settings import TrainerSettings

_MANIFEST = "manifest.json"
_AT_ONCE = 8

_Found = TypeVar("_Found")


class Bucket:
    """A bucket of the lake, for callers that have no event loop.

    Args:
        settings: Where the lake is.
        name: The bucket's.

    Each method raises `LakeUnavailableError` where the lake can't be reached now, and `ConfigurationError` where it
    refuses the keys.
    """

    def __init__(self, settings: TrainerSettings, name: str) -> None:
        self._settings = settings
        self._name = name

    def has(self, key: str) -> bool:
        """Whether there is such an object; it is read, so it had better be small."""

        async def look(lake: Lake) -> bool:
            try:
                await lake.get(key)
            except FrameNotFoundError:
                return False
            return True

        return self._do(look)

    def whole(self, prefix: str) -> list[str]:
        """Names of the folders right below a prefix that are there as a whole."""

        async def look(lake: Lake) -> list[str]:
            keys = [key.removeprefix(f"{prefix}/").split("/") for key in await lake.keys(f"{prefix}/")]
            return sorted(parts[0] for parts in keys if parts[1:] == [_MANIFEST])

        return self._do(look)

    def put(self, prefix: str, folder: Path, *, without: frozenset[str] = frozenset()) -> None:
        """Put a folder's files there, but for those of these names, and then its manifest."""
        paths = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name not in without]

        async def upload(lake: Lake) -> None:
            listing = {}
            for path in paths:
                listing[path.name] = await asyncio.to_thread(digests.of_file, path)
                await lake.put_file(f"{prefix}/{path.name}", path)
            body = json.dumps(listing, indent=2).encode()
            await lake.put(f"{prefix}/{_MANIFEST}", body, content_type="application/json", metadata={})

        self._do(upload)

    def get(self, prefix: str, folder: Path) -> None:
        """Fill a folder with one that `put` put there.

        Raises:
            ConfigurationError: There is none, or it is damaged.
        """
        folder.mkdir(parents=True, exist_ok=True)

        async def download(lake: Lake) -> None:
            try:
                body, _ = await lake.get(f"{prefix}/{_MANIFEST}")
                for name, digest in json.loads(body).items():
                    path = folder / Path(name).name
                    await lake.get_file(f"{prefix}/{name}", path)
                    if await asyncio.to_thread(digests.of_file, path) != digest:
                        raise ConfigurationError(f"{prefix}/{name} in the bucket {self._name!r} is damaged: delete it")
            except FrameNotFoundError as error:
                raise ConfigurationError(f"the bucket {self._name!r} has no whole {prefix}") from error

        self._do(download)

    def copy(self, prefix: str, folder: Path) -> int:
        """Write every object below a prefix into a folder, under its key from there on; returns how many there are."""

        async def download(lake: Lake) -> int:
            keys = await lake.keys(f"{prefix}/")
            room = asyncio.Semaphore(_AT_ONCE)

            async def one(key: str) -> None:
                path = folder / key.removeprefix(f"{prefix}/")
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise ConfigurationError(f"the bucket {self._name!r} has the key {key!r}, which is no file's")
                path.parent.mkdir(parents=True, exist_ok=True)
                async with room:
                    await lake.get_file(key, path)

            await asyncio.gather(*map(one, keys))
            return len(keys)

        return self._do(download)

    def add(self, key: str, path: Path) -> None:
        """Put one file, over any older one."""

        async def upload(lake: Lake) -> None:
            await lake.put_file(key, path)

        self._do(upload)

    def delete(self, prefix: str) -> None:
        """Delete a folder, its manifest first."""

        async def remove(lake: Lake) -> None:
            await lake.delete(f"{prefix}/{_MANIFEST}")
            await lake.delete(*await lake.keys(f"{prefix}/"))

        self._do(remove)

    def _do(self, work: Callable[[Lake], Awaitable[_Found]]) -> _Found:
        async def run() -> _Found:
            async with Lake.from_settings(self._settings, bucket=self._name) as lake:
                return await work(lake)

        return asyncio.run(run())
