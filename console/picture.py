"""A picture with what models say of it, drawn by the browser."""

from collections.abc import Iterable

from nicegui.element import Element

from console.drawing import data_url, drawing
from console.texts import Translate
from framemesh.v1.answer_pb2 import ModelAnswer


def words_of_drawings(translate: Translate) -> dict[str, str]:
    """The texts that `static/painting.js` needs, in the visitor's language."""
    _t = translate
    return {
        "nothing": _t("nothing found"),
        "pose": _t("pose"),
        "depth": _t("depth"),
        "numbers": _t("numbers"),
        "other": _t("an answer that can't be drawn"),
        "earlier": _t("earlier"),
        "broken": _t("The picture can't be shown: it is gone, or no picture."),
    }


class AnsweredPicture(Element, component="picture.js"):
    """A picture, as wide as its place, with answers drawn over it.

    Args:
        source: Its address, of this console; answers are in pixels of what lies there.
        answers: What models say of it.
        translate: The visitor's language.
    """

    def __init__(self, source: str, answers: Iterable[ModelAnswer], translate: Translate) -> None:
        super().__init__()
        self._props["src"] = source
        self._props["answers"] = [drawing(answer, data_url) for answer in answers]
        self._props["texts"] = words_of_drawings(translate)

    def show(self, source: str, answers: Iterable[ModelAnswer]) -> None:
        """Show another one, without a flicker between."""
        self._props["src"] = source
        self._props["answers"] = [drawing(answer, data_url) for answer in answers]
        self.update()
