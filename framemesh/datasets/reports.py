"""`recipe.json`: a recipe and what came out of it, so that whoever makes it again can tell whether it is the same."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from framemesh.datasets.recipes import Recipe
from framemesh.errors import InvalidRequestError

RECIPE = "recipe.json"
"""The file beside a dataset. It is written last: without it, a dataset is not whole."""


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What one split holds.

    Attributes:
        frames: How many.
        groups: Of how many groups.
        labels: How many frames of each class; or, of each class, how many objects.
    """

    frames: int
    groups: int
    labels: dict[str, int]


@dataclass(frozen=True, slots=True)
class CameraReport:
    """What there is of one camera: how many frames, and the digest of their lines."""

    frames: int
    digest: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Frames that were chosen and aren't there.

    Attributes:
        gone: The lake has them no more.
        near_borders: They lie within the gap between two splits.
    """

    gone: int
    near_borders: int


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What came out.

    Attributes:
        classes: Names of the classes, in the order of their numbers.
        frames: How many.
        digest: `sha256:` and the digest of a line for each frame: its split, id, bytes and labels.
        splits: Those that have frames, by name.
        cameras: By name.
        left_out: What isn't there.
    """

    classes: tuple[str, ...]
    frames: int
    digest: str
    splits: dict[str, SplitReport]
    cameras: dict[str, CameraReport]
    left_out: LeftOut


@dataclass(frozen=True, slots=True)
class Document:
    """The file `recipe.json`.

    Attributes:
        recipe: What chooses.
        dataset: What came out; none where nothing was made yet.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    recipe: Recipe
    dataset: DatasetReport | None = None


_adapter = TypeAdapter(Document)


def made(words: Mapping[str, Any], *, as_of: datetime) -> Document:
    """A document of a recipe in a user's words, which are those of the file.

    Raises:
        InvalidRequestError: They are no recipe, or one that contradicts itself.
    """
    return _checked({"recipe": {**words, "as_of": as_of}}, "this recipe")


def dump(document: Document) -> bytes:
    """The file's content."""
    return _adapter.dump_json(document, indent=2) + b"\n"


def parse(text: bytes, name: str = RECIPE) -> Document:
    """What a file says.

    Raises:
        InvalidRequestError: It is no recipe, or one that contradicts itself.
    """
    try:
        words = json.loads(text)
    except ValueError:
        raise InvalidRequestError(f"{name} is no recipe: it is not JSON") from None
    return _checked(words, name)


def _checked(words: object, name: str) -> Document:
    try:
        document = _adapter.validate_python(words)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])).removeprefix("recipe.") or "its beginning"
        raise InvalidRequestError(f"{name} can't be: {where}: {first['msg']}") from None
    return replace(document, recipe=document.recipe.checked())
