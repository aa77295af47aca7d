from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from transformers import AutoTokenizer

from framemesh.errors import ConfigurationError, InvalidRequestError
from model_server.texts import LabelTexts
from tests.model_server.tiny import tokenizers

LABELS = ("A cat.", "two COFFEE cups, aren't they?", "zebra", "a photo of the night", "ein Haus, 12 €")
MAKERS: dict[str, Callable[[Path], None]] = {
    "clip": tokenizers.clip,
    "siglip": tokenizers.siglip,
    "bert": tokenizers.bert,
    "gpt2": tokenizers.gpt2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            MAKERS[kind](made[kind])
        return made[kind]

    return make


class Network:
    """Features that tell which text they are of: how many tokens it has, and their sum. Counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def embed(self, tokens: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        self.asked += len(tokens)
        return np.stack([mask.sum(axis=1), (tokens * mask).sum(axis=1)], axis=1).astype(np.float32)


def texts(folder: Path, *, length: int = 0) -> LabelTexts:
    return LabelTexts(folder, Network().embed, length=length)


@pytest.mark.parametrize("length", [0, 8, 64])
@pytest.mark.parametrize("kind", ["clip", "siglip", "bert"])
def test_tokens_are_those_of_transformers_own_tokenizer(kind: str, length: int, folder: Callable[[str], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder(kind))
    options = {"padding": "max_length", "max_length": length, "truncation": True} if length else {"padding": True}
    wanted = tokenizer(list(LABELS), return_tensors="np", return_attention_mask=True, **options)
    tokens, mask = texts(folder(kind), length=length).tokens(LABELS)
    assert tokens.tolist() == wanted["input_ids"].tolist()
    assert mask.tolist() == wanted["attention_mask"].tolist()


def test_a_tokenizer_that_pads_on_the_left_does_so_here(tmp_path: Path) -> None:
    tokenizers.bert(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, padding_side="left", pad_token="[MASK]")
    tokenizer.save_pretrained(tmp_path)
    wanted = tokenizer(list(LABELS), return_tensors="np", padding=True)
    tokens, mask = texts(tmp_path).tokens(LABELS)
    assert tokens.tolist() == wanted["input_ids"].tolist()
    assert mask.tolist() == wanted["attention_mask"].tolist()


@pytest.mark.parametrize("kind", ["siglip", "bert", "gpt2"])
def test_tokens_are_spelt_as_transformers_does(kind: str, folder: Callable[[str], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder(kind))
    for label in LABELS:
        tokens = tokenizer(label).input_ids
        text = str(tokenizer.decode(tokens, skip_special_tokens=True))
        assert texts(folder(kind)).decode(tokens) == text.strip() != ""


def test_a_label_is_embedded_once_and_keeps_its_place(folder: Callable[[str], Path]) -> None:
    network = Network()
    found = LabelTexts(folder("bert"), network.embed, length=0)
    first = found.embed(["cat", "two cups"])
    again = found.embed(["two cups", "dog", "cat", "two cups"])
    assert network.asked == 3
    np.testing.assert_array_equal(again[[2, 0, 3]], first[[0, 1, 1]])


def test_a_label_longer_than_the_model_reads_is_refused(folder: Callable[[str], Path]) -> None:
    with pytest.raises(InvalidRequestError, match=r"'cat cat .* makes 92 tokens, and the model reads 77"):
        texts(folder("clip")).embed(["dog", "cat " * 90])
    assert texts(folder("clip"), length=16).embed(["cat " * 90])[0, 0] == 16


def test_a_model_without_a_tokenizer_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no tokenizer.json: make one .* AutoTokenizer.from_pretrained"):
        texts(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"tokenizer.json can't be read"):
        texts(tmp_path)


def test_a_tokenizer_that_can_not_pad_compares_no_labels(folder: Callable[[str], Path]) -> None:
    def unused(tokens: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        raise AssertionError

    labels: Sequence[str] = ["a cat", "a cup of coffee"]
    with pytest.raises(ConfigurationError, match="names no pad_token"):
        LabelTexts(folder("gpt2"), unused, length=0).embed(labels)
