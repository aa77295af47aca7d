"""`python -m benchmarks.ingest.camera CLIP FRAMES QUALITY`: that many frames as a camera agent reads and makes them."""

import sys
from collections.abc import Iterator

from ingest.pictures import Picture
from ingest.settings import CameraSettings
from ingest.shaping import Shaper
from ingest.sources import open_source


def pictures(clip: str, *, quality: int) -> Iterator[Picture]:
    """The clip's frames as JPEGs, over and over."""
    camera = CameraSettings(name="bench", source=clip, quality=quality)
    source, shaper = open_source(camera), Shaper(camera)
    while True:
        shot = source.read()
        picture = None if shot is None else shaper.shape(shot)
        if picture is not None:
            yield picture


if __name__ == "__main__":
    for _, _picture in zip(range(int(sys.argv[2])), pictures(sys.argv[1], quality=int(sys.argv[3])), strict=False):
        pass
