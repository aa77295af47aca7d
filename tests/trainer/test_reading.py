import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError
from tests.trainer.signs import dataset
from trainer import reading

COUNTS = {"train": 1, "validation": 1, "test": 1}


@pytest.fixture(scope="module")
def good(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("data") / "good", photos, COUNTS, classes=("parking", "warning"))


def rewrite(split: str, before: str, after: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / split / "metadata.jsonl"
        path.write_text(path.read_text().replace(before, after))

    return change


def damage(split: str, count: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for path in sorted((folder / split).glob("*.jpg"))[:count]:
            path.write_bytes(path.read_bytes()[:1000])

    return change


def set_recipe(**fields: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        recipe = json.loads((folder / "recipe.json").read_text())
        recipe["recipe"] |= fields
        (folder / "recipe.json").write_text(json.dumps(recipe))

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda folder: (folder / "recipe.json").unlink(), "holds no dataset, as it has no recipe.json"),
        (lambda folder: (folder / "recipe.json").write_text("{"), "recipe.json is damaged"),
        (set_recipe(format="webdataset"), "export the dataset with `--format imagefolder`"),
        (set_recipe(labels="none"), "has no labels to learn"),
        (lambda folder: shutil.rmtree(folder / "validation"), "the split 'validation' of .* no picture is in it"),
        (damage("test", 2), "the split 'test' of .* no picture can be decoded"),
        (rewrite("test", "warning", "dragon"), "line 2: class 'dragon' is none of the recipe's"),
        (rewrite("train", "warning", "parking"), "every picture of the split 'train' is of class 'parking'"),
        (damage("train", 1), "every picture of the split 'train' is of class"),
    ],
)
def test_what_can_not_be_learnt_is_told_with_what_to_do(
    good: Path, tmp_path: Path, change: Callable[[Path], None], why: str
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(good, folder)
    change(folder)
    with pytest.raises(ConfigurationError, match=why):
        reading.read(folder)


def test_pictures_that_can_not_be_decoded_are_left_out_and_counted(photos: Path, tmp_path: Path) -> None:
    folder = dataset(
        tmp_path / "data", photos, {"train": 2, "validation": 1, "test": 1}, classes=("parking", "warning")
    )
    damage("train", 1)(folder)
    found = reading.read(folder)
    assert ({split: len(each) for split, each in found.splits.items()}, dict(found.unreadable)) == (
        {"train": 3, "validation": 2, "test": 2},
        {"train": 1, "validation": 0, "test": 0},
    )
    assert found.counts("train").total() == 3


def test_objects_have_their_boxes_and_classes(photos: Path, tmp_path: Path) -> None:
    folder = dataset(tmp_path / "data", photos, COUNTS, classes=("parking", "warning"), objects=True)
    found = reading.read(folder)
    assert (found.task, found.classes) == ("object-detection", ("parking", "warning"))
    assert [example.classes for example in found.splits["train"]] == [(0,), (1,)]
    ((left, top, width, height),) = found.splits["train"][0].boxes
    assert (left >= 0, top >= 0, width == height) == (True, True, True)
