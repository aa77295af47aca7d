"""A model's way with words: labels as features, tokens as text. Needs neither torch nor transformers."""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from framemesh.errors import ConfigurationError, InvalidRequestError

TOKENIZER = "tokenizer.json"
_SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")  # the later wins, as in transformers
_REMEMBERED = 4096

Embed = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Features of texts, from tokens and their mask of shape (texts, tokens)."""


class LabelTexts:
    """Embeds labels through the model's text network, each once, and decodes what the model writes.

    Args:
        folder: The prepared model, with its tokenizer.
        embed: Runs the text network.
        length: To how many tokens each label is padded or cut; 0 means padded to the longest of those embedded
            together, and none is cut.

    Raises:
        ConfigurationError: The folder has no tokenizer that can be read without transformers.
    """

    def __init__(self, folder: Path, embed: Embed, *, length: int) -> None:
        settings = _settings(folder)
        self._tokenizer = _open(folder)
        self._limit = length or int(settings.get("model_max_length") or 0)
        self._pads = _pad(self._tokenizer, settings, length)
        self._tokenizer.no_truncation()
        if length:
            self._tokenizer.enable_truncation(length, direction=settings.get("truncation_side", "right"))
        self._embed = embed
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def embed(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """As `Texts` says.

        Raises:
            InvalidRequestError: A label has more tokens than the model reads.
            ConfigurationError: The tokenizer has no token to pad with.
        """
        with self._lock:
            missing = [label for label in dict.fromkeys(labels) if label not in self._known]
            if missing:
                self._known |= dict(zip(missing, self._embed(*self.tokens(missing)), strict=True))
            for label in labels:
                self._known.move_to_end(label)
            found = np.stack([self._known[label] for label in labels])
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return found

    def decode(self, tokens: Sequence[int]) -> str:
        """As `Texts` says."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()

    def tokens(self, labels: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The labels' tokens and their mask, each of shape (labels, tokens).

        Raises:
            InvalidRequestError: A label has more tokens than the model reads.
            ConfigurationError: The tokenizer has no token to pad with.
        """
        if not self._pads:
            raise ConfigurationError("the model's tokenizer_config.json names no pad_token: labels can't be compared")
        encodings = self._tokenizer.encode_batch(list(labels))
        mask = np.asarray([encoding.attention_mask for encoding in encodings], np.int64)
        if 0 < self._limit < mask.shape[1]:
            label = labels[int(mask.sum(axis=1).argmax())]
            raise InvalidRequestError(
                f"candidate label {label[:40]!r} makes {mask.shape[1]} tokens, and the model reads {self._limit}: "
                "write a shorter one",
                label=label,
            )
        return np.asarray([encoding.ids for encoding in encodings], np.int64), mask


def _open(folder: Path) -> Any:
    path = folder / TOKENIZER
    if not path.exists():
        raise ConfigurationError(
            f"the model reads or writes words, and its folder has no {TOKENIZER}: make one where transformers is "
            "installed, with AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ConfigurationError(f"the model's {TOKENIZER} can't be read: {error}") from error


def _settings(folder: Path) -> dict[str, Any]:
    """What the tokenizer's own files say beside its vocabulary."""
    settings: dict[str, Any] = {}
    for name in _SETTINGS:
        if (folder / name).exists():
            settings |= json.loads((folder / name).read_text())
    return settings


def _pad(tokenizer: Any, settings: dict[str, Any], length: int) -> bool:
    """Set how the tokenizer pads; whether it has a token for that."""
    tokenizer.no_padding()
    token = settings.get("pad_token")
    if isinstance(token, dict):
        token = token["content"]
    number = tokenizer.token_to_id(token) if token else None
    if number is None:
        return False
    tokenizer.enable_padding(
        direction=settings.get("padding_side", "right"), pad_id=number, pad_token=token, length=length or None
    )
    return True
