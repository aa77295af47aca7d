"""Real photos to compare on, where a model is prepared: an operator's own frames, or those of scikit-image's wheel."""

import random
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from framemesh.errors import ConfigurationError

_CALIBRATION = ("coins.png", "horse.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_right.png", "retina.jpg")
_NAMES = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg", "motorcycle_left.png")
_SIZES = ((1920, 1080), (1280, 720), (640, 480), (480, 640), (320, 240))
"""Those of cameras: larger, as large, and smaller than most inputs are, and one that stands upright."""
_MAX_OWN = 400
_CROPS = 16
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def by_size(folder: Path | None) -> dict[str, list[bytes]]:
    """Encoded photos to compare on, by their size: real ones as JPEG; of the folder's, every second one as it is.

    Raises:
        ConfigurationError: The folder has no photos, or scikit-image isn't installed.
    """
    if folder is not None:
        return {"own photos": _own(folder)[::2]}
    originals = list(_originals(_NAMES))
    return {
        f"{width}x{height}": [_jpeg(ImageOps.fit(image, (width, height))) for image in originals]
        for width, height in _SIZES
    }


def photos(folder: Path | None) -> list[bytes]:
    """Those of `by_size`, of all sizes.

    Raises:
        ConfigurationError: As of `by_size`.
    """
    return [photo for group in by_size(folder).values() for photo in group]


def crops(folder: Path | None) -> list[bytes]:
    """More photos to compare on, where a few don't settle it: parts of those of `photos`; an own folder's as they are.

    Raises:
        ConfigurationError: As of `by_size`.
    """
    if folder is not None:
        return photos(folder)
    return [_jpeg(_as_wide(part, 640)) for image in _originals(_NAMES) for part in _parts(image)]


def calibration(folder: Path | None) -> list[bytes]:
    """Photos to calibrate on: others than those to compare on, but where the folder has a single one.

    Raises:
        ConfigurationError: As of `by_size`.
    """
    if folder is not None:
        own = _own(folder)
        return own[1::2] or own
    return [_jpeg(_as_wide(part, 640)) for image in _originals(_CALIBRATION) for part in (image, *_parts(image))]


def _own(folder: Path) -> list[bytes]:
    own = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not own:
        raise ConfigurationError(f"no photos in {folder}: put JPEG, PNG or WebP files there", folder=folder)
    return [path.read_bytes() for path in own[:: -(-len(own) // _MAX_OWN)]]


def _originals(names: Iterable[str]) -> Iterator[Image.Image]:
    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise ConfigurationError("preparing a model compares it on real photos: pip install 'framemesh[torch]'")
    for name in names:
        yield Image.open(Path(found.origin).parent / "data" / name).convert("RGB")


def _parts(image: Image.Image) -> Iterator[Image.Image]:
    """Parts of an image, the same ones every time, from half of its edges to nearly all."""
    chance = random.Random(image.width)  # noqa: S311 - not for secrets
    for _ in range(_CROPS):
        share = chance.uniform(0.5, 0.95)
        width, height = round(image.width * share), round(image.height * share)
        left, top = chance.randint(0, image.width - width), chance.randint(0, image.height - height)
        yield image.crop((left, top, left + width, top + height))


def _as_wide(image: Image.Image, width: int) -> Image.Image:
    return image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)


def _jpeg(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()
