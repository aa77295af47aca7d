"""What the settings of a transformers image processor ask for, as our own preprocessing. Pure."""

from collections.abc import Mapping
from typing import Any

from model_server.geometry import Size
from model_server.preprocessing import Fitted, Preprocessing, RoundedDown, RoundedUp, Rule, ShortestEdge, rounded_up

_WARPED_FROM = 384  # ConvNeXt's processor cuts nothing off inputs of this size and over
_BILINEAR = 2
_YOLOS_MULTIPLE = 16

Triple = tuple[float, float, float]


def read(processor: Mapping[str, Any]) -> Preprocessing | None:
    """The preprocessing that a processor's `to_dict` describes; None where it asks for something that we don't do.

    Whether it is all that the processor does shows only in running both: `building` does so.
    """
    geometry = _geometry(processor)
    if geometry is None:
        return None
    resize, cut = geometry
    crop = processor.get("crop_size") if processor.get("do_center_crop") else None
    if crop is not None:
        cut = Size(crop["width"], crop["height"])
    scale, bias = _affine(processor)
    resample = processor.get("resample")
    return Preprocessing(resize, _BILINEAR if resample is None else int(resample), cut, scale, bias)


def _geometry(processor: Mapping[str, Any]) -> tuple[Rule, Size | None] | None:
    """To what the image is resized, and what is cut from the middle, where the resizing itself decides that."""
    size = processor.get("size") or {}
    if not processor.get("do_resize"):
        return None
    crop_pct = processor.get("crop_pct")
    if size.keys() == {"shortest_edge"} and crop_pct is not None:
        edge = size["shortest_edge"]
        square = Size(edge, edge)
        return (square, square) if edge >= _WARPED_FROM else (ShortestEdge(int(edge / crop_pct)), square)
    rule = _rule(processor, size)
    return None if rule is None else (rule, None)


def _rule(processor: Mapping[str, Any], size: Mapping[str, Any]) -> Rule | None:
    """To what the image is resized."""
    divisor = processor.get("size_divisor")
    if size.keys() == {"height", "width"}:
        return _of_rectangle(processor, Size(size["width"], size["height"]))
    if size.keys() == {"shortest_edge", "longest_edge"}:
        multiple = _YOLOS_MULTIPLE if str(processor.get("image_processor_type")).startswith("Yolos") else 1
        rule = ShortestEdge(size["shortest_edge"], size["longest_edge"], multiple)
        return RoundedUp(rule, divisor) if divisor else rule
    if size.keys() == {"shortest_edge"}:
        return ShortestEdge(size["shortest_edge"])
    return RoundedDown(divisor) if divisor and not size else None


def _of_rectangle(processor: Mapping[str, Any], size: Size) -> Rule | None:
    """To what the image is resized, where the settings name a width and a height."""
    divisor = processor.get("size_divisor")
    if "ensure_multiple_of" not in processor:
        return rounded_up(size, divisor) if divisor else size
    if divisor and processor.get("do_pad"):  # DPT's processor then pads on all sides
        return None
    rule = Fitted(size, processor["ensure_multiple_of"])
    return rule if processor.get("keep_aspect_ratio") else rule.resized(size)


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
