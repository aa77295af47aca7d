"""Datasets as files: a Hugging Face `imagefolder`, or WebDataset shards."""

import io
import tarfile
from typing import BinaryIO, Protocol

from framemesh.datasets.places import Place
from framemesh.datasets.rows import Sample, text
from framemesh.frames import NANOSECONDS

SHARD_BYTES = 256 * 1024 * 1024
METADATA = "metadata.jsonl"


class Writer(Protocol):
    """Takes a dataset frame by frame."""

    async def add(self, sample: Sample) -> None:
        """Write one frame."""

    async def finish(self) -> None:
        """Write what is left: everything is at its place after this."""

    def close(self) -> None:
        """Let go of open files, whole or not."""


class ImageFolder:
    """A folder for each split, with its pictures and a row for each in `metadata.jsonl`.

    Pictures lie flat: a folder named after a camera could be taken for a split.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._rows: dict[str, BinaryIO] = {}

    async def add(self, sample: Sample) -> None:
        """See `Writer.add`."""
        await self._place.put(f"{sample.split}/{sample.file_name}", sample.body)
        if sample.split not in self._rows:
            path = self._place.scratch / sample.split / METADATA
            path.parent.mkdir(exist_ok=True)
            self._rows[sample.split] = path.open("wb")
        self._rows[sample.split].write(text({"file_name": sample.file_name, **sample.row}) + b"\n")

    async def finish(self) -> None:
        """See `Writer.finish`."""
        self.close()
        for split in self._rows:
            await self._place.keep(f"{split}/{METADATA}")

    def close(self) -> None:
        """See `Writer.close`."""
        for file in self._rows.values():
            file.close()


class Shards:
    """Tar files of each split, with each frame's picture, row and number of its class under one name.

    Args:
        place: Where they go.
        shard_bytes: How large one becomes: the next frame begins another.
    """

    def __init__(self, place: Place, *, shard_bytes: int = SHARD_BYTES) -> None:
        self._place = place
        self._shard_bytes = shard_bytes
        self._open: dict[str, _Shard] = {}

    async def add(self, sample: Sample) -> None:
        """See `Writer.add`."""
        shard = self._open.get(sample.split)
        if shard is None or shard.file.tell() >= self._shard_bytes:
            number = 0
            if shard is not None:
                number = shard.number + 1
                await self._keep(shard)
            shard = self._open[sample.split] = _Shard(self._place, sample.split, number)
        shard.add(sample)

    async def finish(self) -> None:
        """See `Writer.finish`."""
        for shard in self._open.values():
            await self._keep(shard)

    def close(self) -> None:
        """See `Writer.close`."""
        for shard in self._open.values():
            shard.file.close()

    async def _keep(self, shard: "_Shard") -> None:
        shard.finish()
        await self._place.keep(shard.name)


class _Shard:
    def __init__(self, place: Place, split: str, number: int) -> None:
        self.number = number
        self.name = f"{split}-{number:06}.tar"
        self.file = (place.scratch / self.name).open("wb")
        self._tar = tarfile.TarFile(fileobj=self.file, mode="w", format=tarfile.USTAR_FORMAT)

    def add(self, sample: Sample) -> None:
        """Write a frame's members; the same bytes each time."""
        members = {sample.extension: sample.body, "json": text(sample.row)}
        if sample.label_number is not None:
            members["cls"] = str(sample.label_number).encode()
        for extension, body in members.items():
            member = tarfile.TarInfo(f"{sample.frame_id}.{extension}")
            member.size = len(body)
            member.mtime = sample.row["capture_time_ns"] // NANOSECONDS
            self._tar.addfile(member, io.BytesIO(body))

    def finish(self) -> None:
        self._tar.close()
        self.file.close()
