"""A photo as a camera: panned and zoomed in a loop whose pictures are rendered once and kept."""

from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from PIL import Image

from framemesh.errors import ConfigurationError, ImageTooLargeError, InvalidImageError
from ingest.files import read_image
from ingest.motion import NARROWEST, largest_window, window
from ingest.pictures import Picture, Size, decode, encode
from ingest.shots import Shot, Timing

DEFAULT_SIZE = Size(1280, 720)
LOOP_SECONDS = 4.0
PICTURES = 120
"""Different pictures in a loop, so 30 a second: the motion is slow, and a faster camera shows each more than once."""
MAX_KEPT_BYTES = 64 * 1024 * 1024
"""For one loop. 1280 x 720 at quality 80 takes 7 to 17 MB; what is over the limit is rendered each time."""


class StillLoop:
    """The pictures of a photo in motion; cameras on the same photo share one.

    Raises:
        ConfigurationError: The file can't be read, or isn't a sound image.
    """

    def __init__(self, path: Path, *, size: Size, quality: int) -> None:
        try:
            self._photo = _prepared(read_image(path), size)
        except OSError as error:
            raise ConfigurationError(f"{path} can't be read: {error.strerror}", path=path) from error
        except (InvalidImageError, ImageTooLargeError) as error:
            raise ConfigurationError(f"{path}: {error}", path=path) from error
        self._size = size
        self._quality = quality
        self._kept: dict[int, Picture] = {}
        self._kept_bytes = 0
        self._lock = Lock()  # cameras that start together want the same picture at once; one renders it

    def picture(self, number: int) -> Picture:
        """One of the loop's `PICTURES`, from 0."""
        with self._lock:
            picture = self._kept.get(number)
            if picture is None:
                picture = self._render(number / PICTURES)
                if self._kept_bytes + len(picture.body) <= MAX_KEPT_BYTES:
                    self._kept[number] = picture
                    self._kept_bytes += len(picture.body)
            return picture

    def fill(self) -> None:
        """Render what will be kept, about 15 ms a picture, so that no camera is late in its first loop."""
        for number in range(PICTURES):
            if self._kept_bytes >= MAX_KEPT_BYTES:
                return
            self.picture(number)

    def _render(self, phase: float) -> Picture:
        shown = self._photo.resize(
            (self._size.width_px, self._size.height_px),
            Image.Resampling.BICUBIC,
            box=window(phase, Size(*self._photo.size), self._size),
        )
        return encode(shown, quality=self._quality)


class StillSource:
    """A camera's way through a loop, endlessly."""

    timing = Timing.PACED
    patience_seconds = None

    def __init__(self, loop: StillLoop, *, fps: float) -> None:
        self._loop = loop
        self._reads = 0
        self._reads_a_loop = max(1, round(LOOP_SECONDS * fps))

    def read(self) -> Shot:
        """The next picture of the loop."""
        number = self._reads * PICTURES // self._reads_a_loop
        self._reads = (self._reads + 1) % self._reads_a_loop
        return Shot(self._loop.picture(number))

    def close(self) -> None:
        """Nothing is held but the loop, which goes with the last camera on it."""


_loops: WeakValueDictionary[tuple[Path, Size, int], StillLoop] = WeakValueDictionary()
_loops_lock = Lock()


def shared_loop(path: Path, *, size: Size, quality: int) -> StillLoop:
    """The photo's loop, filled; cameras that ask for the same at any one time get the same.

    Raises:
        ConfigurationError: The file can't be read, or isn't a sound image.
    """
    with _loops_lock:
        loop = _loops.get((path, size, quality))
        if loop is None:
            loop = _loops[path, size, quality] = StillLoop(path, size=size, quality=quality)
    loop.fill()
    return loop


def _prepared(body: bytes, size: Size) -> Image.Image:
    """The photo, scaled down where it has more detail than the narrowest window can show: less memory, faster loops."""
    needed = Size(round(size.width_px / NARROWEST), round(size.height_px / NARROWEST))
    photo = decode(body, at_least=needed)
    left, _, right, _ = largest_window(Size(*photo.size), size)
    scale = needed.width_px / (right - left)
    if scale >= 1:
        return photo
    return photo.resize(
        (round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS, reducing_gap=3.0
    )
