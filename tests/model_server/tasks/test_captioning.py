import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer

from framemesh.errors import ConfigurationError
from framemesh.v1.answer_pb2 import AnswerOptions
from model_server.exact import load_processor
from model_server.geometry import Size, View
from model_server.inference import Inferred, Job, Model
from model_server.networks import open_network
from model_server.tasks import Asked, Captioning
from model_server.trust import Trust
from tests.model_server.conftest import ParityRow
from tests.model_server.servers import encoded

VIEW = View(Size(4, 4), Size(4, 4), Size(4, 4))


class Speller:
    """Spells tokens as numbers."""

    def embed(self, labels: Sequence[str]) -> NDArray[np.float32]:
        raise AssertionError

    def decode(self, tokens: Sequence[int]) -> str:
        return " ".join(map(str, tokens))


@pytest.mark.parametrize(("count", "text"), [(0, "5 6 7"), (2, "5 6"), (9, "5 6 7")])
def test_the_text_has_as_many_tokens_as_were_asked_for_without_the_one_that_starts_it(count: int, text: str) -> None:
    outputs = {"tokens": np.array([[1, 5, 6, 7]])}
    asked = Asked(VIEW, AnswerOptions(max_token_count=count), texts=Speller())
    assert Captioning().answer(outputs, asked).text.text == text


@pytest.mark.parametrize("kind", ["blip", "vit-gpt2", "git"])
def test_a_text_is_what_transformers_own_model_writes(
    kind: str,
    prepared: Callable[..., Path],
    source: Callable[[str], Path],
    chelsea: Image.Image,
    parity_table: list[ParityRow],
) -> None:
    model = Model.load(prepared(kind), preprocessing="exact")
    assert model.manifest.runtime == "torch"
    assert "it writes token by token" in model.manifest.fallback_reason
    oracle: Any = AutoModelForImageTextToText.from_pretrained(source(kind))
    tokenizer: Any = AutoTokenizer.from_pretrained(source(kind))
    upside_down = chelsea.transpose(Image.Transpose.ROTATE_180)
    jobs = [
        Job(encoded(chelsea)),
        Job(encoded(upside_down)),
        Job(encoded(chelsea), AnswerOptions(max_token_count=3)),
    ]
    texts: list[str] = []
    for inferred in model.infer(jobs):
        assert isinstance(inferred, Inferred)
        assert inferred.answer is not None
        texts.append(inferred.answer.text.text)
    written: list[torch.Tensor] = []
    for image, text in zip((chelsea, upside_down), texts, strict=False):
        pixels = load_processor(source(kind))(images=image, return_tensors="pt")["pixel_values"]
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the model doesn't say how much it may write
            (tokens,) = oracle.generate(pixel_values=pixels)
        written.append(tokens)
        assert text == tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert len(set(text)) > 3, "it must not write one token all over"
    assert texts[0] != texts[1]
    assert texts[2] == tokenizer.decode(written[0][1:4], skip_special_tokens=True).strip() != texts[0]
    parity_table.append(ParityRow("image-to-text", kind, "torch", "generate", "none"))


def test_a_model_that_wants_a_prompt_is_refused_by_name(source: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"served with BlipForConditionalGeneration, .*; this is a clip"):
        open_network(source("clip"), "image-to-text", Trust())
