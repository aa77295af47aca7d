"""What came out, counted and summed up frame by frame. Pure."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from framemesh.datasets.recipes import SPLITS
from framemesh.datasets.reports import CameraReport, DatasetReport, LeftOut, SplitReport
from framemesh.datasets.rows import Sample


class Tally:
    """Counts a dataset's frames as they come.

    Args:
        classes: Names of the classes, in the order of their numbers.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._digest = hashlib.sha256()
        self._camera_digests: defaultdict[str, Any] = defaultdict(hashlib.sha256)
        self._camera_frames = Counter[str]()
        self._frames = Counter[str]()
        self._labels = defaultdict[str, Counter[str]](Counter)
        self._groups = defaultdict[str, set[tuple[str, int]]](set)

    def add(self, sample: Sample, block: int) -> None:
        """Count a frame that lies in that block of its camera."""
        line, camera = sample.line(), sample.row["camera"]
        self._digest.update(line)
        self._camera_digests[camera].update(line)
        self._camera_frames[camera] += 1
        self._frames[sample.split] += 1
        self._groups[sample.split].add((camera, block))
        self._labels[sample.split].update(sample.labels)

    def report(self, left_out: LeftOut) -> DatasetReport:
        """What came out."""
        return DatasetReport(
            classes=self._classes,
            frames=self._frames.total(),
            digest=_written(self._digest),
            splits={
                name: SplitReport(frames, len(self._groups[name]), dict(sorted(self._labels[name].items())))
                for name in SPLITS
                if (frames := self._frames[name])
            },
            cameras={
                camera: CameraReport(frames, _written(self._camera_digests[camera]))
                for camera, frames in sorted(self._camera_frames.items())
            },
            left_out=left_out,
        )


def _written(digest: Any) -> str:
    return f"sha256:{digest.hexdigest()}"
