"""Photos as cameras send them: real ones, cut and scaled to the camera's size."""

from pathlib import Path

from PIL import Image, ImageOps

from framemesh.mesh.photos import NAMES, photo_folder

SIZES = {"640x480": (640, 480), "1920x1080": (1920, 1080)}
_QUALITY = 88


def make(size: str, cache: Path) -> Path:
    """The folder of that size's JPEGs, which are made if they aren't there."""
    folder = cache / "photos" / f"{size}-q{_QUALITY}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        path = folder / f"{Path(name).stem}.jpg"
        if not path.exists():
            photo = Image.open(photo_folder() / name).convert("RGB")
            ImageOps.fit(photo, SIZES[size], Image.Resampling.LANCZOS).save(path, "JPEG", quality=_QUALITY)
    return folder
