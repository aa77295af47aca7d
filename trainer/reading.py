"""An exported dataset as it lies in a folder: what training takes of it, and what is wrong with it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from PIL import ExifTags, Image, UnidentifiedImageError

from framemesh.errors import ConfigurationError
from trainer.orders import CLASSIFICATION, USUAL

log = structlog.get_logger()

SPLITS = ("train", "validation", "test")
RECIPE = "recipe.json"
_METADATA = "metadata.jsonl"


@dataclass(frozen=True, slots=True)
class Example:
    """One picture and what it shows.

    Attributes:
        path: The image.
        label: Number of its class, where the task is of whole images.
        boxes: Left, top, width and height in pixels of each object, where it is of objects.
        classes: Number of each object's class.
    """

    path: Path
    label: int = -1
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    classes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that training can take.

    Attributes:
        task: In the hub's words.
        classes: Their names, in the order of their numbers.
        digest: Of all frames, labels and splits.
        recipe: How it was made, as `recipe.json` says.
        splits: The examples of each.
        unreadable: How many pictures of each split can't be decoded, and are left out.
        same_sized: Whether all pictures are as large as each other.
    """

    task: str
    classes: tuple[str, ...]
    digest: str
    recipe: Mapping[str, Any]
    splits: Mapping[str, Sequence[Example]]
    unreadable: Mapping[str, int]
    same_sized: bool

    def counts(self, split: str) -> Counter[str]:
        """How often a split has each class, by name."""
        examples = self.splits[split]
        numbers = (number for example in examples for number in (example.classes or (example.label,)) if number >= 0)
        return Counter(self.classes[number] for number in numbers)


def read(folder: Path) -> Dataset:
    """The dataset in a folder, every picture of it decoded once.

    Raises:
        ConfigurationError: It is none, or none that anything can be learnt from; the message says what to do.
    """
    recipe = _recipe(folder)
    task, made = recipe["recipe"].get("task", ""), recipe["dataset"]
    if recipe["recipe"].get("format") != "imagefolder":
        raise ConfigurationError(f"{folder} holds no image folder: export the dataset with `--format imagefolder`")
    if task not in USUAL or recipe["recipe"].get("labels") == "none":
        raise ConfigurationError(
            f"{folder} has no labels to learn: export it with `--labels`, for one of {', '.join(USUAL)}"
        )
    classes = tuple(made["classes"])
    splits, unreadable, sizes = {}, {}, set()
    for split in SPLITS:
        examples = _examples(folder / split, task, classes)
        seen = [(example, _size(example.path)) for example in examples]
        splits[split] = [example for example, size in seen if size is not None]
        unreadable[split] = len(examples) - len(splits[split])
        sizes |= {size for _, size in seen if size is not None}
    dataset = Dataset(task, classes, made["digest"], recipe, splits, unreadable, same_sized=len(sizes) == 1)
    _check(folder, dataset)
    return dataset


def _recipe(folder: Path) -> dict[str, Any]:
    try:
        recipe = json.loads((folder / RECIPE).read_text())
        _ = recipe["recipe"]["task"], recipe["dataset"]["classes"], recipe["dataset"]["digest"]
    except OSError as error:
        raise ConfigurationError(
            f"{folder} holds no dataset, as it has no {RECIPE}: make one with `framemesh dataset export`"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{folder / RECIPE} is damaged: export the dataset again") from error
    return dict(recipe)


def _examples(folder: Path, task: str, classes: Sequence[str]) -> list[Example]:
    """The rows of one split, in their order; none where it has no folder."""
    path = folder / _METADATA
    if not path.is_file():
        return []
    examples = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            examples.append(_example(folder, json.loads(line), task, classes))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ConfigurationError(
                f"{path}, line {number}: {error}; its labels are not those of {RECIPE}, so export the dataset again"
            ) from error
    return examples


def _example(folder: Path, row: dict[str, Any], task: str, classes: Sequence[str]) -> Example:
    image = folder / Path(row["file_name"]).name
    if task == CLASSIFICATION:
        if row["label"] not in classes:
            raise ValueError(f"class {row['label']!r} is none of the recipe's")
        return Example(image, label=classes.index(row["label"]))
    numbers = tuple(int(number) for number in row["objects"]["categories"])
    if any(not 0 <= number < len(classes) for number in numbers):
        raise ValueError(f"category {max(numbers)} is none of the recipe's {len(classes)}")
    boxes = tuple(tuple(map(float, box)) for box in row["objects"]["bbox"])
    if len(boxes) != len(numbers) or any(len(box) != 4 for box in boxes):
        raise ValueError("each object takes a box of four numbers and a category")
    return Example(image, boxes=boxes, classes=numbers)  # type: ignore[arg-type]  # of four numbers each


def _size(path: Path) -> tuple[int, int, int] | None:
    """Width and height of a picture, and how it is turned; none where it can't be decoded."""
    try:
        with Image.open(path) as image:
            size = (*image.size, image.getexif().get(ExifTags.Base.Orientation, 1))
            image.draft("RGB", (1, 1))  # all of it is read, and little of it computed
            image.load()
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        log.warning("example.unreadable", path=str(path), error=str(error))
        return None
    return size


def _check(folder: Path, dataset: Dataset) -> None:
    for split in SPLITS:
        if not dataset.splits[split]:
            why = "can be decoded" if dataset.unreadable[split] else "is in it"
            raise ConfigurationError(
                f"the split {split!r} of {folder} is empty: no picture {why}; training takes all of "
                f"{', '.join(SPLITS)}: choose more frames, or other shares with `framemesh dataset export --split`"
            )
    learnt = dataset.counts("train")
    if dataset.task == CLASSIFICATION and len(learnt) < 2:
        raise ConfigurationError(
            f"every picture of the split 'train' is of class {next(iter(learnt))!r}, so there is nothing to tell "
            "apart: export frames of at least two classes"
        )
    if not learnt:
        raise ConfigurationError("no picture of the split 'train' has an object: export frames that show some")
    for split in SPLITS[1:]:
        if unknown := dataset.counts(split).keys() - learnt.keys():
            raise ConfigurationError(
                f"the split {split!r} has {', '.join(map(repr, sorted(unknown)))}, of which 'train' has no example: "
                "choose more frames, or other shares with `framemesh dataset export --split`"
            )
