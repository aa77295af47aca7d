"""Every text has a translation."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import console
from console.texts import catalogue, translator

_MARKS = {"_t", "_translate", "translate", "marked"}
_PLACE = re.compile(r"\{\w+\}")


def _texts() -> Iterator[str]:
    """Each text in the console's code that is given to a translation."""
    for path in Path(console.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                first = node.args[0]
                if name in _MARKS and isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value


def test_every_text_is_there_in_korean() -> None:
    assert not sorted(set(_texts()) - catalogue("ko").keys())


def test_no_translation_is_of_a_text_that_is_gone() -> None:
    assert not sorted(catalogue("ko").keys() - set(_texts()))


def test_no_text_is_translated_twice() -> None:
    folder = Path(console.__file__).parent / "texts" / "ko"
    counts = Counter(text for path in folder.glob("*.json") for text in json.loads(path.read_text()))
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(("english", "korean"), catalogue("ko").items())
def test_a_translation_has_the_places_of_its_text(english: str, korean: str) -> None:
    assert set(_PLACE.findall(english)) == set(_PLACE.findall(korean))


def test_a_value_is_no_format() -> None:
    assert translator("ko")("{fps} frames/s", fps="{0}") == "{0} 프레임/초"
