"""What the settings of a transformers image processor ask for, as our own preprocessing. Pure."""

from collections.abc import Mapping
from typing import Any

from framemesh.errors import ConfigurationError
from model_server.preprocessing import Preprocessing, ShortestEdge, Size

_WARPED_FROM = 384  # ConvNeXt's processor cuts nothing off inputs of this size and over
_BILINEAR = 2

Triple = tuple[float, float, float]


def read(processor: Mapping[str, Any]) -> Preprocessing:
    """The preprocessing that a processor's `to_dict` describes.

    Whether it is all that the processor does shows only in running both: `checkpoints` does so.

    Raises:
        ConfigurationError: It asks for something that we don't do.
    """
    resize, cut = _geometry(processor)
    crop = processor.get("crop_size") if processor.get("do_center_crop") else None
    if crop is not None:
        cut = Size(crop["width"], crop["height"])
    if cut is None:
        raise unsupported(processor, "makes inputs of varying size")
    scale, bias = _affine(processor)
    resample = processor.get("resample")
    return Preprocessing(resize, _BILINEAR if resample is None else int(resample), cut, scale, bias)


def unsupported(processor: Mapping[str, Any], why: str) -> ConfigurationError:
    """The error of a processor that we can't stand in for."""
    name = processor.get("image_processor_type", "of an unknown type")
    return ConfigurationError(
        f"the model's image processor {name} {why}, which framemesh does not reproduce; choose a model whose "
        "processor resizes, crops and normalizes",
        processor=name,
    )


def _geometry(processor: Mapping[str, Any]) -> tuple[Size | ShortestEdge, Size | None]:
    """To what the image is resized, and what is cut from the middle, where the resizing itself decides that."""
    size = processor.get("size") or {}
    if not processor.get("do_resize") or size.keys() not in ({"height", "width"}, {"shortest_edge"}):
        raise unsupported(processor, f"resizes to {dict(size) if processor.get('do_resize') else 'nothing'}")
    if "height" in size:
        exact = Size(size["width"], size["height"])
        return exact, exact
    edge = size["shortest_edge"]
    crop_pct = processor.get("crop_pct")
    if crop_pct is None:
        return ShortestEdge(edge), None
    square = Size(edge, edge)
    return (square, square) if edge >= _WARPED_FROM else (ShortestEdge(int(edge / crop_pct)), square)


def _affine(processor: Mapping[str, Any]) -> tuple[Triple, Triple]:
    """The chain of rescaling and normalizing as one factor and one addend a channel."""
    factor = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale") else 1.0
    offset = -1.0 if processor.get("rescale_offset") else 0.0
    mean, std = _triple(processor.get("image_mean") or 0.0), _triple(processor.get("image_std") or 1.0)
    divisor = std if processor.get("do_normalize") else (1.0, 1.0, 1.0)
    subtracted = mean if processor.get("do_normalize") else (0.0, 0.0, 0.0)
    if processor.get("include_top"):  # EfficientNet's processor divides by the deviation once more
        divisor = _triple([one * other for one, other in zip(divisor, std, strict=True)])
    scale = [factor / by for by in divisor]
    bias = [(offset - less) / by for less, by in zip(subtracted, divisor, strict=True)]
    return _triple(scale), _triple(bias)


def _triple(value: Any) -> Triple:
    """One value for each channel."""
    red, green, blue = [value] * 3 if isinstance(value, int | float) else value
    return float(red), float(green), float(blue)
