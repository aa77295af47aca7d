"""Image to text: the image in words. Pure."""

from dataclasses import dataclass
from typing import Literal

from framemesh.v1.answer_pb2 import Answer, Text
from model_server.tasks.base import Asked, Outputs


@dataclass(frozen=True, slots=True)
class Captioning:
    """A model that writes; its network's output is `tokens` of shape (images, tokens).

    The first token starts the text and is none of it; behind the text's end come special tokens.
    """

    name: Literal["image-to-text"] = "image-to-text"

    @property
    def labels(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def text_length(self) -> int:
        """It reads no texts, but its tokens are to be spelt."""
        return 0

    def answer(self, outputs: Outputs, asked: Asked) -> Answer:
        """The text, cut to as many tokens as are asked for; 0 takes all that the model wrote."""
        assert asked.texts is not None  # noqa: S101 - a task with a text length has them
        written = outputs["tokens"][0, 1:].tolist()
        return Answer(text=Text(text=asked.texts.decode(written[: asked.options.max_token_count or None])))
