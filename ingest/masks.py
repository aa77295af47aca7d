"""Regions of a camera's picture that never leave the agent. Pure."""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Coordinate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Point = tuple[Coordinate, Coordinate]
Pixels = Annotated[int, Field(ge=1)]


class Mask(BaseModel):
    """A rectangle or a polygon. In shares of the picture's width and height, or in pixels where `of_px` is set."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rectangle: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None
    """Left, top, right and bottom."""
    polygon: Annotated[tuple[Point, ...], Field(min_length=3, max_length=256)] | None = None
    """Its corners in order, each as x and y; its sides may not cross."""
    of_px: tuple[Pixels, Pixels] | None = None
    """Width and height of the picture on which pixels were counted; unset, the numbers are shares from 0 to 1."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.rectangle is None) == (self.polygon is None):
            raise ValueError("say either rectangle or polygon")
        width, height = self.of_px or (1, 1)
        for x, y in self._corners():
            if x > width or y > height:
                raise ValueError(
                    f"{x:g}, {y:g} lies outside the picture of {width} x {height} pixels"
                    if self.of_px
                    else f"{x:g}, {y:g} lies outside the picture: shares go from 0 to 1; for pixels add "
                    "of_px: [width, height] of the picture on which they were counted"
                )
        if self.rectangle is not None:
            left, top, right, bottom = self.rectangle
            if not (left < right and top < bottom):
                raise ValueError(
                    "a rectangle is [left, top, right, bottom], with left under right and top under bottom"
                )
        elif _crosses_itself(self._corners()):
            raise ValueError("the polygon's sides cross, so what it covers is unclear: make two masks of it")
        elif _area(self._corners()) == 0:
            raise ValueError("the polygon's corners lie on one line: it covers nothing")
        return self

    def corners(self) -> list[tuple[float, float]]:
        """The corners as shares of the picture's width and height, each x and y in [0, 1]."""
        width, height = self.of_px or (1, 1)
        return [(x / width, y / height) for x, y in self._corners()]

    def _corners(self) -> list[tuple[float, float]]:
        if self.rectangle is not None:
            left, top, right, bottom = self.rectangle
            return [(left, top), (right, top), (right, bottom), (left, bottom)]
        return list(self.polygon or ())


def _sides(corners: list[tuple[float, float]]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    return list(pairwise([*corners, corners[0]]))


def _area(corners: list[tuple[float, float]]) -> float:
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in _sides(corners))) / 2


def _crosses_itself(corners: list[tuple[float, float]]) -> bool:
    sides = _sides(corners)
    return any(
        _cross(*sides[one], *sides[two])
        for one in range(len(sides))
        for two in range(one + 2, len(sides))
        if (one, two) != (0, len(sides) - 1)  # neighbours share a corner
    )


def _cross(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float], d: tuple[float, float]) -> bool:
    """Whether the inside of a-b crosses that of c-d."""

    def side(p: tuple[float, float], q: tuple[float, float], r: tuple[float, float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
