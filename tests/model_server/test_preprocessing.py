from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import (
    BitImageProcessorPil,
    ConvNextImageProcessorPil,
    DeiTImageProcessorPil,
    EfficientNetImageProcessorPil,
    MobileNetV2ImageProcessorPil,
    ViTImageProcessorPil,
)

from model_server import processors, samples
from model_server.preprocessing import Preprocessing, ShortestEdge, Size

PROCESSORS: dict[str, Any] = {
    "vit": ViTImageProcessorPil,
    "vit, bicubic to a rectangle": lambda: ViTImageProcessorPil(size={"height": 96, "width": 128}, resample=3),
    "vit, only rescaled": lambda: ViTImageProcessorPil(do_normalize=False),
    "vit, not rescaled": lambda: ViTImageProcessorPil(do_rescale=False, image_mean=[127.0] * 3, image_std=[128.0] * 3),
    "deit": DeiTImageProcessorPil,
    "convnext, cropped": lambda: ConvNextImageProcessorPil(size={"shortest_edge": 224}),
    "convnext, odd crop": lambda: ConvNextImageProcessorPil(size={"shortest_edge": 223}, crop_pct=0.95),
    "convnext, warped": lambda: ConvNextImageProcessorPil(size={"shortest_edge": 384}),
    "efficientnet": lambda: EfficientNetImageProcessorPil(size={"height": 224, "width": 224}),
    "efficientnet, offset": lambda: EfficientNetImageProcessorPil(
        rescale_factor=1 / 127.5, rescale_offset=True, include_top=False
    ),
    "efficientnet, cropped": lambda: EfficientNetImageProcessorPil(do_center_crop=True),
    "mobilenet": MobileNetV2ImageProcessorPil,
    "bit": BitImageProcessorPil,
    "bit, crop over the edge": lambda: BitImageProcessorPil(crop_size={"height": 261, "width": 224}),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_input_is_that_of_transformers_own_processor(name: str, chelsea: Image.Image) -> None:
    processor = PROCESSORS[name]()
    preprocessing = processors.read(processor.to_dict())
    for photo in (chelsea, *samples.photos()):
        pixels = preprocessing.batch(1)
        preprocessing.fill(pixels[0], photo, preprocessing.resized(Size(*photo.size)))
        np.testing.assert_allclose(pixels, processor(photo, return_tensors="np")["pixel_values"], atol=2e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        (Size(640, 480), Size(341, 256)),
        (Size(480, 640), Size(256, 341)),
        (Size(300, 300), Size(256, 256)),
        (Size(1, 1000), Size(256, 256000)),
    ],
)
def test_the_shortest_edge_keeps_the_proportions(size: Size, resized: Size) -> None:
    preprocessing = Preprocessing(ShortestEdge(256), 2, Size(224, 224), (1.0,) * 3, (0.0,) * 3)
    assert preprocessing.resized(size) == resized


def test_an_image_is_written_into_its_own_row_alone(chelsea: Image.Image) -> None:
    preprocessing = processors.read(ViTImageProcessorPil().to_dict())
    pixels = preprocessing.batch(3)
    preprocessing.fill(pixels[1], chelsea, Size(224, 224))
    assert pixels.shape == (3, 3, 224, 224)
    assert pixels.dtype == np.float32
    assert not pixels[0].any()
    assert pixels[1].any()
    assert not pixels[2].any()
