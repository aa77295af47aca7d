import random
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import (
    BitImageProcessorPil,
    ConvNextImageProcessorPil,
    DeiTImageProcessorPil,
    DetrImageProcessorPil,
    DPTImageProcessorPil,
    EfficientNetImageProcessorPil,
    GLPNImageProcessorPil,
    Mask2FormerImageProcessorPil,
    MaskFormerImageProcessorPil,
    MobileNetV2ImageProcessorPil,
    OwlViTImageProcessorPil,
    RTDetrImageProcessorPil,
    SegformerImageProcessorPil,
    ViTImageProcessorPil,
    YolosImageProcessorPil,
)
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.models.yolos.image_processing_pil_yolos import get_size_with_aspect_ratio_yolos

from model_server import processors, samples
from model_server.geometry import Size
from model_server.preprocessing import Preprocessing, ShortestEdge

PROCESSORS: dict[str, Any] = {
    "segformer, whose labels alone are reduced": lambda: SegformerImageProcessorPil(do_reduce_labels=True),
    "mask2former, rounded up": Mask2FormerImageProcessorPil,
    "mask2former, a rectangle rounded up": lambda: Mask2FormerImageProcessorPil(size={"height": 380, "width": 500}),
    "maskformer, as it comes": lambda: MaskFormerImageProcessorPil(size_divisor=0),
    "dpt": DPTImageProcessorPil,
    "dpt, rounded": lambda: DPTImageProcessorPil(ensure_multiple_of=50),
    "depth anything": lambda: DPTImageProcessorPil(
        size={"height": 518, "width": 518}, keep_aspect_ratio=True, ensure_multiple_of=14
    ),
    "glpn, rounded down": GLPNImageProcessorPil,
    "vit": ViTImageProcessorPil,
    "vit, bicubic to a rectangle": lambda: ViTImageProcessorPil(size={"height": 96, "width": 128}, resample=3),
    "vit, only rescaled": lambda: ViTImageProcessorPil(do_normalize=False),
    "vit, not rescaled": lambda: ViTImageProcessorPil(do_rescale=False, image_mean=[127.0] * 3, image_std=[128.0] * 3),
    "deit": DeiTImageProcessorPil,
    "convnext, cropped": lambda: ConvNextImageProcessorPil(size={"shortest_edge": 224}),
    "convnext, odd crop": lambda: ConvNextImageProcessorPil(size={"shortest_edge": 223}, crop_pct=0.95),
    "convnext, warped": lambda: ConvNextImageProcessorPil(size={"shortest_edge": 384}),
    "detr, of varying size": lambda: DetrImageProcessorPil(size={"shortest_edge": 200, "longest_edge": 250}),
    "yolos, cut down to multiples": lambda: YolosImageProcessorPil(size={"shortest_edge": 200, "longest_edge": 250}),
    "rt_detr, not normalised": RTDetrImageProcessorPil,
    "owlvit": OwlViTImageProcessorPil,
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
    assert preprocessing is not None
    for photo in (chelsea, *(Image.open(BytesIO(body)) for body in samples.photos(None)[::2])):
        pixels = preprocessing.apply(photo, preprocessing.resized(Size(*photo.size)))
        assert pixels.dtype == np.float32
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


def test_what_is_padded_is_zero(chelsea: Image.Image) -> None:
    preprocessing = Preprocessing(Size(30, 20), 2, None, (1 / 255,) * 3, (-5.0,) * 3, pad_multiple=16)
    pixels = preprocessing.apply(chelsea, Size(30, 20))
    assert pixels.shape == (1, 3, 32, 32)
    assert preprocessing.fixed_input == Size(32, 32)
    assert not pixels[:, :, 20:].any()
    assert not pixels[:, :, :, 30:].any()
    assert (pixels[:, :, :20, :30] < -3).all()


@pytest.mark.parametrize(("shortest", "longest"), [(800, 1333), (512, 864), (480, 1333)])
def test_edges_within_limits_are_rounded_as_transformers_rounds_them(shortest: int, longest: int) -> None:
    chance = random.Random(1)  # noqa: S311 - nothing secret
    near = [edge + by for edge in (shortest, longest) for by in (-1, 0, 1)]
    for _ in range(5000):
        width, height = (chance.choice([chance.randint(40, 3000), *near]) for _ in range(2))
        for multiple, rule in ((1, get_size_with_aspect_ratio), (16, get_size_with_aspect_ratio_yolos)):
            resized = ShortestEdge(shortest, longest, multiple).resized(Size(width, height))
            assert (resized.height, resized.width) == rule((height, width), shortest, longest), (width, height)


def test_a_line_of_pixels_keeps_a_size() -> None:
    assert ShortestEdge(800, 1333).resized(Size(8000, 1)) == Size(1333, 1)
    assert ShortestEdge(800, 1333, 16).resized(Size(1, 8000)) == Size(16, 1328)
