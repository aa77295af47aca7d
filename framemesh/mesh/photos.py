"""The demo's photos: those that the wheel of scikit-image carries."""

from importlib.util import find_spec
from pathlib import Path

from framemesh.errors import ConfigurationError

NAMES = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png", "motorcycle_left.png", "hubble_deep_field.jpg")
"""Photos that make good cameras, in the order in which the demo uses them."""


def photo_folder() -> Path:
    """Where the photos lie. scikit-image itself isn't imported: that takes a second.

    Raises:
        ConfigurationError: scikit-image isn't installed.
    """
    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise ConfigurationError(
            "the demo's photos are missing: run `pip install -e '.[demo]'` in framemesh's checkout"
        )
    return Path(found.origin).parent / "data"
