"""Segmentation: which parts of the image show what; by class, by object, or both. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from framemesh.errors import InvalidRequestError
from framemesh.v1 import answer_pb2
from framemesh.v1.answer_pb2 import Answer, Label, Mask, Segment, SegmentationKind
from model_server.geometry import Size
from model_server.tasks import png
from model_server.tasks.base import Asked, Outputs, sigmoid, softmax
from model_server.tasks.resizing import Floats, bilinear, nearest, winners

MIN_SCORE = 0.9
"""Least score of an object unless asked otherwise, as in transformers' pipeline."""
_MIN_MASK = 0.5
_MIN_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class Queries:
    """A network that answers by queries, each of one object: what it is, and where.

    Attributes:
        mask_size: To what the masks are resized before all else; None leaves them as they are.
        overlapping: Whether objects may overlap where they alone are asked for.
    """

    mask_size: Size | None
    overlapping: bool


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A segmentation model.

    By class, its network's output is `logits` of shape (images, classes, height, width). By queries, the outputs are
    `class_logits` of shape (images, queries, classes + 1), the last class being none, and `mask_logits` of shape
    (images, queries, height, width).

    Attributes:
        labels: The classes by index.
        queries: How it answers by queries; None where it does by class.
    """

    labels: tuple[str, ...]
    queries: Queries | None
    name: Literal["image-segmentation"] = "image-segmentation"

    @property
    def text_length(self) -> int | None:
        """It has no words."""

    def answer(self, outputs: Outputs, asked: Asked) -> Answer:
        """The segments of the kind that was asked for, in the order of transformers' pipeline.

        Raises:
            InvalidRequestError: The model knows no objects, or nobody knows the kind.
        """
        kind = self._kind(asked.options.segmentation_kind)
        found = self._found(outputs, asked, kind)
        segments = [
            Segment(
                label=Label(index=index, name=self.labels[index], score=round(score, 6)),
                mask=Mask(png=png.of_mask(mask)),
            )
            for index, score, mask in found
        ]
        return Answer(segmentation=answer_pb2.Segmentation(segments=segments))

    def _kind(self, asked: SegmentationKind.ValueType) -> SegmentationKind.ValueType:
        """What to tell apart: as asked, or the first of panoptic, instance and semantic that the model can."""
        able = [SegmentationKind.SEGMENTATION_KIND_SEMANTIC]
        if self.queries is not None:
            able = [
                SegmentationKind.SEGMENTATION_KIND_PANOPTIC, SegmentationKind.SEGMENTATION_KIND_INSTANCE, *able
            ]  # fmt: skip
        if asked == SegmentationKind.SEGMENTATION_KIND_UNSPECIFIED:
            return able[0]
        if asked not in able:
            names = ", ".join(SegmentationKind.Name(kind) for kind in able)
            raise InvalidRequestError(
                f"the model can't do segmentation_kind {asked}: use {names}, or leave it out", segmentation_kind=asked
            )
        return asked

    def _found(self, outputs: Outputs, asked: Asked, kind: SegmentationKind.ValueType) -> Iterator["_Found"]:
        frame = asked.view.frame
        if self.queries is None:
            return by_class(_floats(outputs["logits"]), frame)
        shares = softmax(_floats(outputs["class_logits"]))
        masks = _floats(outputs["mask_logits"])
        size = self.queries.mask_size or Size(masks.shape[2], masks.shape[1])
        if kind == SegmentationKind.SEGMENTATION_KIND_SEMANTIC:
            return by_class(np.tensordot(shares[:, :-1], sigmoid(bilinear(masks, size)), axes=(0, 0)), frame)

        def mask_of(query: int) -> Floats:
            return bilinear(masks[query], size)

        options = asked.options
        min_score = options.min_score if options.HasField("min_score") else MIN_SCORE
        if kind == SegmentationKind.SEGMENTATION_KIND_INSTANCE and self.queries.overlapping:
            return overlapping(shares, mask_of, frame, min_score)
        return apart(shares, mask_of, frame, min_score)


_Found = tuple[int, float, NDArray[np.bool_]]
"""One segment: the number of its class, its score, and its mask of the frame's size."""
MaskOf = Callable[[int], Floats]
"""Gives logits of shape (height, width), by the number of a query."""


def by_class(scores: Floats, frame: Size) -> Iterator[_Found]:
    """One segment for each class that is the best somewhere, by its number; together they cover the frame.

    Args:
        scores: Shape (classes, height, width).
        frame: Its size.
    """
    best = winners(scores, frame)
    for index in np.unique(best):
        yield int(index), 1.0, best == index


def apart(shares: Floats, mask_of: MaskOf, frame: Size, min_score: float) -> Iterator[_Found]:
    """One segment for each query with an object, in the queries' order; each pixel goes to the surest.

    Queries that keep less than half of their own mask are left out, and so are their pixels.

    Args:
        shares: Shape (queries, classes + 1), each row summing to 1.
        mask_of: Gives the mask of one query.
        frame: Its size.
        min_score: Least score of a query.
    """
    classes, scores = shares.argmax(axis=1), shares.max(axis=1)
    able = np.flatnonzero((classes != shares.shape[1] - 1) & (scores > min_score))
    best = np.full((frame.height, frame.width), -np.inf, np.float32)
    owners = np.empty(best.shape, np.int32)
    areas = []
    for query in able:  # one after the other: at 1080p, a hundred masks would take 800 MB
        sure = bilinear(sigmoid(mask_of(int(query))), frame) * scores[query]
        areas.append(np.count_nonzero(sure >= _MIN_MASK))
        better = sure > best
        np.copyto(best, sure, where=better)
        np.copyto(owners, query, where=better)
    for query, area in zip(able, areas, strict=True):
        mask = owners == query
        if area and np.count_nonzero(mask) / area > _MIN_OVERLAP:
            yield int(classes[query]), float(scores[query]), mask


def overlapping(shares: Floats, mask_of: MaskOf, frame: Size, min_score: float) -> Iterator[_Found]:
    """One segment for each object, highest score first; they may overlap.

    A query may stand for objects of several classes. Its share of a class counts as much as its mask is sure.

    Args:
        shares: Shape (queries, classes + 1), each row summing to 1.
        mask_of: Gives the mask of one query.
        frame: Its size.
        min_score: Least score of an object.
    """
    classes = shares.shape[1] - 1
    found = []
    objects = shares[:, :-1].ravel()
    for place in np.argsort(-objects, kind="stable")[: len(shares)]:
        query, index = divmod(int(place), classes)
        if not objects[place] >= min_score:  # the mask can only lower it
            continue
        logits = mask_of(query)
        inside = logits > 0
        score = objects[place] * sigmoid(logits)[inside].sum() / (inside.sum() + 1e-6)
        mask = nearest(inside, frame)
        if score >= min_score and mask.any():
            found.append((index, float(score), mask))
    yield from sorted(found, key=lambda one: -one[1])


def _floats(output: NDArray[np.generic]) -> Floats:
    """The output for a job's only image."""
    return np.asarray(output[0], np.float32)
