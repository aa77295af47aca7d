"""Preprocessing by transformers' own image processor, on Pillow and numpy. Imports transformers, not torch."""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import AutoImageProcessor

from framemesh.errors import ConfigurationError
from framemesh.v1.answer_pb2 import Box
from model_server.decoding import open_image
from model_server.geometry import Size, View
from model_server.preparers import Prepared
from model_server.tasks.keypoints import persons
from model_server.trust import Trust, explained


class ExactPreparer:
    """Makes inputs exactly as transformers' pipelines do."""

    def __init__(self, folder: Path, trust: Trust) -> None:
        """Load the processor.

        Raises:
            ConfigurationError: transformers can't load it.
        """
        self.processor = load_processor(folder, trust)
        self._by_person = "boxes" in signature(self.processor.preprocess).parameters

    def prepare(self, body: bytes, boxes: Sequence[Box]) -> Prepared:
        """As `Preparer` says."""
        image = open_image(body)
        return self.whole(image.decode(image.size), boxes)

    def whole(self, image: Image.Image, boxes: Sequence[Box] = ()) -> Prepared:
        """The input for an RGB image that is decoded in full; for a pose one for each person.

        Raises:
            InvalidRequestError: A person's box holds nothing of the image.
        """
        frame = Size(*image.size)
        options = {"boxes": [[_coco(box) for box in persons(boxes, frame)]]} if self._by_person else {}
        pixels = np.asarray(self.processor(images=image, return_tensors="np", **options)["pixel_values"], np.float32)
        size = Size(pixels.shape[3], pixels.shape[2])
        return Prepared(pixels, View(frame, size, size))


def _coco(box: Box) -> list[float]:
    """Left, top, width and height."""
    return [box.x_min_px, box.y_min_px, box.x_max_px - box.x_min_px, box.y_max_px - box.y_min_px]


def load_processor(folder: Path, trust: Trust = Trust()) -> Any:  # noqa: B008 - frozen
    """The model's image processor.

    Raises:
        ConfigurationError: transformers can't load it.
    """
    try:
        # Pillow's filters: torchvision's differ by a few steps, and would be chosen where it is installed.
        return AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            folder, backend="pil", trust_remote_code=trust.remote_code
        )
    except (ValueError, KeyError, OSError, ImportError, TypeError) as error:
        raise ConfigurationError(f"transformers can't load the model's image processor: {explained(error)}") from error
