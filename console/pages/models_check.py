"""What is wrong with what somebody filled in to deploy a model, and at which field. Pure."""

import re
from dataclasses import dataclass

from console.pages.models_order import Order, field_of
from console.texts import Translate
from console.texts.messages import in_language
from framemesh.errors import (
    FramemeshError,
    InvalidSpecError,
    ModelChangedError,
    ModelExistsError,
    ModelNotFoundError,
)
from framemesh.mesh import demo
from framemesh.names import MAX_MODEL_LENGTH
from framemesh.specs import IN_LAKE, LAKE, MAX_FPS, MAX_REPLICAS, MIN_FPS

_PLAIN = re.compile(r"[\w.-]+(/[\w.-]+)*/?", re.ASCII)
"""What may be an id of the hub, whose own rule is narrower, or the path of a folder."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps a model from being deployed.

    Attributes:
        field: The form's field that it is about; empty where it is about none of them.
        words: What to do about it, in the visitor's language.
    """

    field: str
    words: str


def problem_of(order: Order, translate: Translate) -> Problem | None:
    """The first thing that is wrong with an order; none where it can be sent."""
    try:
        source = order.spec().source
    except InvalidSpecError as error:
        return told(error, translate)
    words = _wrong_source(source, translate)
    return Problem("source", words) if words else None


def clash(name: str, error: FramemeshError, _t: Translate) -> Problem | None:
    """What a model of that name has to do with a refusal: it is there, is another than was seen, or is gone."""
    match error:
        case ModelExistsError():
            words = _t(
                "{model} is deployed already: give this one another name, or use Replace on that one's card.",
                model=name,
            )
            return Problem("name", words)
        case ModelChangedError():
            words = _t(
                "Somebody changed {model} meanwhile: Cancel shows how it is now, Replace overwrites that.", model=name
            )
            return Problem("", words)
        case ModelNotFoundError():
            words = _t("{model} was deleted meanwhile: there is nothing to replace. Deploy it anew.", model=name)
            return Problem("", words)
    return None


def told(error: InvalidSpecError, translate: Translate) -> Problem:
    """An error of a spec, in the visitor's language: what is common in the form's words, the rest in the CLI's."""
    _t, value = translate, error.values.get("value", "")
    field, words = field_of(error), in_language(error, _t)
    match error.values.get("field"):
        case "source" if not value:
            words = _t("Name a model: give a Hugging Face id or the path of a model folder.")
        case "replicas":
            words = _t("Write a whole number of servers, from {least} to {most}.", least=0, most=MAX_REPLICAS)
        case "max_fps":
            words = _range_of_fps(_t)
        case "policy" if value.startswith("fps="):  # with no number behind it
            words = _range_of_fps(_t)
    if error.values.get("kind") == "model":
        words = _t(
            "{name} can't name a model: use 1 to {most} of a-z, 0-9 and '-', with no '-' at either end.",
            name=repr(error.values["name"]),
            most=MAX_MODEL_LENGTH,
        )
    return Problem(field, words)


def _wrong_source(source: str, _t: Translate) -> str:
    """What is wrong with a source that plainly names no model; whether there is such a one others find out."""
    if source.startswith(demo.PREFIX):
        if source in demo.SOURCES:
            return ""
        return _t("There is no such demo model; there are {models}.", models=", ".join(demo.SOURCES))
    if source.startswith(LAKE):
        return "" if IN_LAKE.fullmatch(source) else _t("Of a model in the lake write lake://models/NAME/VERSION.")
    if source.startswith(("/", "./", "../", "~")) or _PLAIN.fullmatch(source):
        return ""
    return _t("Write an id such as google/vit-base-patch16-224, or a folder's path that begins with / or ./")


def _range_of_fps(_t: Translate) -> str:
    return _t("Write how many frames a second, from {least} to {most}.", least=f"{MIN_FPS:g}", most=f"{MAX_FPS:g}")
