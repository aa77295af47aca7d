"""Where a dataset goes: a folder that appears whole, or a prefix of the lake whose recipe comes last."""

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from framemesh.datasets.claiming import Claim, claimed
from framemesh.datasets.fetching import patiently
from framemesh.datasets.reports import RECIPE
from framemesh.errors import ConfigurationError
from framemesh.folders import made_once
from framemesh.lake import Lake
from framemesh.names import check_label
from framemesh.query import LakePlace

BUCKET = "datasets"
_URL = re.compile(rf"lake://{BUCKET}/(?P<name>[^/]+)/(?P<version>[A-Za-z0-9][A-Za-z0-9._-]{{0,62}})")
_REQUESTS = 16


class Place(Protocol):
    """Where files go, by names such as `train/metadata.jsonl`.

    Attributes:
        scratch: A folder for files that are written bit by bit, under their names.
    """

    @property
    def scratch(self) -> Path: ...  # noqa: D102 - see above

    async def put(self, name: str, body: bytes) -> None:
        """Put a whole file there."""

    async def keep(self, name: str) -> None:
        """Put a file there that is finished in `scratch`."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is being filled."""

    scratch: Path

    async def put(self, name: str, body: bytes) -> None:
        """See `Place.put`."""
        path = self.scratch / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)

    async def keep(self, name: str) -> None:
        """See `Place.keep`: it is there."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prefix of the lake's bucket of datasets."""

    scratch: Path
    lake: Lake
    prefix: str
    claim: Claim

    async def put(self, name: str, body: bytes) -> None:
        """See `Place.put`."""
        key = f"{self.prefix}{name}"
        await self.claim.check()
        await patiently(lambda: self.lake.put(key, body, content_type="application/octet-stream", metadata={}))

    async def keep(self, name: str) -> None:
        """See `Place.keep`."""
        path = self.scratch / name
        await self.claim.check()
        await patiently(lambda: self.lake.put_file(f"{self.prefix}{name}", path))
        path.unlink()


def bucket(place: LakePlace, name: str) -> Lake:
    """One of the lake's buckets."""
    return Lake(
        place.endpoint,
        access_key=place.access_key,
        secret_key=place.secret_key,
        region=place.region,
        bucket=name,
        requests=_REQUESTS,
    )


@asynccontextmanager
async def opened(out: str, place: LakePlace) -> AsyncIterator[Place]:
    """Where `out` says, a path or `lake://datasets/<name>/<version>`; whole if the block ends well.

    Else nothing is at the path, or no recipe in the lake.

    Raises:
        ConfigurationError: Something is there already, somebody else writes there, or it can't be written.
        LakeUnavailableError: The lake can't be written.
    """
    if out.startswith("lake://"):
        async with _prefix(out, place) as prefix:
            yield prefix
        return
    path = Path(out).absolute()
    if path.exists():
        raise ConfigurationError(f"{out} is there already: choose another name, or remove it first")
    try:
        with made_once(path, intact=Path.exists) as unfinished:
            if unfinished is None:
                raise ConfigurationError(f"{out} was made by somebody else meanwhile: choose another name")
            yield Folder(unfinished)
            if path.exists():  # it would be taken for a damaged one, and replaced
                raise ConfigurationError(f"{out} was made by somebody else meanwhile: choose another name")
    except OSError as error:
        raise ConfigurationError(
            f"can't write {out}: {error.strerror or error}; nothing of it is left there"
        ) from error


@asynccontextmanager
async def _prefix(url: str, place: LakePlace) -> AsyncIterator[Prefix]:
    found = _URL.fullmatch(url)
    if found is None:
        raise ConfigurationError(
            f"{url!r} can't name a dataset: write lake://{BUCKET}/NAME/VERSION, a version of letters, digits, '._-'"
        )
    prefix = f"{check_label('dataset', found['name'])}/{found['version']}/"
    lake = bucket(place, BUCKET)
    await patiently(lake.__aenter__)
    async with claimed(lake, prefix) as claim:
        there = await patiently(lambda: lake.keys(prefix))
        if f"{prefix}{RECIPE}" in there:
            raise ConfigurationError(f"{url} is there already: a version never changes, so choose another")
        await lake.delete(*there)  # of an export that was cut
        with tempfile.TemporaryDirectory(prefix="framemesh-dataset-") as scratch:
            try:
                yield Prefix(Path(scratch), lake, prefix, claim)
            except OSError as error:
                raise ConfigurationError(f"can't write below {scratch}: {error.strerror or error}") from error
