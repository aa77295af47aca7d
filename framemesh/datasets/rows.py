"""What a dataset says of one frame: the row beside the picture, and the line that its digest is made of. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framemesh.corrections import CLASSIFICATION
from framemesh.datasets.choosing import Chosen, SeenObject
from framemesh.datasets.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame of a dataset.

    Attributes:
        split: The split that it belongs to.
        frame_id: Its id, and the name of its file.
        extension: Of its file, such as `jpg`.
        body: The picture, byte for byte.
        row: What is said of it, by column.
        labels: Names of what it shows: its class, or each object's; none where nothing is said.
        label_number: The number of its class; none where it has none.
    """

    split: str
    frame_id: str
    extension: str
    body: bytes
    row: Mapping[str, Any]
    labels: tuple[str, ...]
    label_number: int | None

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"{self.frame_id}.{self.extension}"

    def line(self) -> bytes:
        """What the digest is made of; classes by name, as their numbers mean others in another dataset."""
        said: object = self.row.get("label")
        if "objects" in self.row:
            said = {"bbox": self.row["objects"]["bbox"], "categories": self.labels}
        return text([self.split, self.frame_id, self.row["sha256"], said]) + b"\n"


def columns(recipe: Recipe, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The columns of a dataset with their types, as dataset cards of the Hugging Face hub spell them."""
    found: list[dict[str, Any]] = [
        {"name": "image", "dtype": "image"},
        {"name": "frame_id", "dtype": "string"},
        {"name": "camera", "dtype": "string"},
        {"name": "capture_time_ns", "dtype": "int64"},
        {"name": "width", "dtype": "int32"},
        {"name": "height", "dtype": "int32"},
        {"name": "sha256", "dtype": "string"},
    ]
    if recipe.labels == "none":
        return found
    one_class = {"class_label": {"names": {str(number): name for number, name in enumerate(classes)}}}
    if recipe.task == CLASSIFICATION:
        found.append({"name": "label", "dtype": one_class})
    else:
        boxes = {"name": "bbox", "list": {"list": "float32", "length": 4}}
        found.append({"name": "objects", "struct": [boxes, {"name": "categories", "list": one_class}]})
    found += [{"name": name, "dtype": "string"} for name in ("label_source", "model", "model_version")]
    return [*found, {"name": "score", "dtype": "float32"}]


class Rows:
    """Makes the rows of one dataset.

    Args:
        recipe: What it is made by.
        classes: Names of the classes, in the order of their numbers.
    """

    def __init__(self, recipe: Recipe, classes: Sequence[str]) -> None:
        self._recipe = recipe
        self._numbers = {name: number for number, name in enumerate(classes)}

    def sample(self, chosen: Chosen, split: str, body: bytes, digest: str) -> Sample:
        """A frame with all that is said of it; `digest` is the SHA-256 of its bytes, in hex."""
        row: dict[str, Any] = {
            "frame_id": chosen.frame_id,
            "camera": chosen.camera,
            "capture_time_ns": chosen.captured_ns,
            "width": chosen.width_px,
            "height": chosen.height_px,
            "sha256": digest,
        }
        if self._recipe.labels != "none":
            row |= self._label(chosen)
        return Sample(
            split,
            chosen.frame_id,
            chosen.object_key.rpartition(".")[2],
            body,
            row,
            (chosen.label,) if chosen.label else tuple(each.name for each in chosen.objects),
            self._numbers[chosen.label] if chosen.label else None,
        )

    def _label(self, chosen: Chosen) -> dict[str, Any]:
        is_class = self._recipe.task == CLASSIFICATION
        return {
            **({"label": chosen.label} if is_class else {"objects": self._objects(chosen)}),
            "label_source": chosen.label_source,
            "model": self._recipe.choose.model if chosen.label_source == "model" else "",
            "model_version": chosen.model_version,
            "score": round(chosen.score, 6),
        }

    def _objects(self, chosen: Chosen) -> dict[str, Any]:
        """Boxes as COCO has them, and their classes by number."""
        return {
            "bbox": [_bbox(each) for each in chosen.objects],
            "categories": [self._numbers[each.name] for each in chosen.objects],
        }


def _bbox(seen: SeenObject) -> list[float]:
    numbers = (seen.x_min, seen.y_min, seen.x_max - seen.x_min, seen.y_max - seen.y_min)
    return [round(number, 2) for number in numbers]


def text(value: object) -> bytes:
    """JSON in one line, the same each time."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")).encode()
