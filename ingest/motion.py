"""How a still becomes a moving picture: a window that drifts and zooms over it, and comes back. Pure."""

from math import cos, pi, sin

from ingest.pictures import Size

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels, as Pillow takes them."""

NARROWEST = 0.75
"""The least share of the largest window that is shown, so that the subject is never cut away."""


def largest_window(picture: Size, shape: Size) -> Box:
    """The largest centred window on the picture that has the shape's width to height."""
    scale = min(picture.width_px / shape.width_px, picture.height_px / shape.height_px)
    width, height = shape.width_px * scale, shape.height_px * scale
    left, top = (picture.width_px - width) / 2, (picture.height_px - height) / 2
    return left, top, left + width, top + height


def window(phase: float, picture: Size, shape: Size) -> Box:
    """What is shown of the picture at a point of the loop.

    Phase 0 shows the largest centred window; from there it narrows to `NARROWEST` and back while it drifts along a
    figure of eight. Smooth everywhere, also where the loop closes.

    Args:
        phase: Share of the loop that has passed; 1 is 0 again.
        picture: The still.
        shape: What has the width to height of the frames.
    """
    left, top, right, bottom = largest_window(picture, shape)
    angle = 2 * pi * phase
    margin = (1 - NARROWEST) / 2 * (1 - cos(angle)) / 2  # on each side, as a share
    drift_x, drift_y = margin * sin(angle), margin * sin(2 * angle)
    width, height = right - left, bottom - top
    return (
        left + (margin + drift_x) * width,
        top + (margin + drift_y) * height,
        right - (margin - drift_x) * width,
        bottom - (margin - drift_y) * height,
    )
