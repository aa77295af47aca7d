"""A YAML document as plain values, with the place of each, so that an error can point at its line."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from framemesh.errors import ConfigurationError

Keys = tuple[str | int, ...]
"""The keys and numbers on the way to a value."""
Place = tuple[int, int]
"""Line and column, from 1."""

_START: Place = (1, 1)
_MAX_NODES = 100_000
"""An alias is followed each time it is used, so a few lines could otherwise stand for billions."""
_NAMED = re.compile(r"(alias|anchor|tag|tag handle) ['\"].*", re.DOTALL)
"""Where PyYAML's errors repeat what the file says, which may be a password without its quotes."""
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Problems:
    """What is wrong with a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[tuple[Place, str], None] = {}

    def add(self, place: Place, words: str) -> None:
        """Something is wrong at a place; told once, however often it is found."""
        self._found[place, words] = None

    def check(self) -> None:
        """Pass where nothing is wrong.

        Raises:
            ConfigurationError: With a line `file:line:column: what` for each problem, in the file's order.
        """
        if self._found:
            lines = [f"{self._path}:{line}:{column}: {words}" for (line, column), words in sorted(self._found)]
            raise ConfigurationError("\n".join(lines), path=self._path)


class Document:
    """One YAML document.

    Args:
        text: The document; `${NAME}` in a string stands for a variable, and `$${` for a plain `${`.
        problems: Where to tell what is wrong.
        variables: Their values.

    Raises:
        ConfigurationError: It isn't YAML, so there is nothing else to say of it.
    """

    content: Any
    """Of dictionaries, lists, strings, numbers, booleans and `None`; `None` where the document is empty."""

    def __init__(self, text: str, problems: Problems, variables: Mapping[str, str]) -> None:
        self._problems = problems
        self._variables = variables
        self._values: dict[Keys, Place] = {}
        self._keys: dict[Keys, Place] = {}
        self._nodes = 0
        try:
            self._loader = yaml.SafeLoader(text)
            node = self._loader.get_single_node()
            self.content = None if node is None else self._value(node, ())
        except yaml.MarkedYAMLError as error:
            words = " ".join(filter(None, (error.context, error.problem)))
            words = _NAMED.sub(r"\1: a value that begins with *, & or ! needs quotes", words)
            problems.add(_place(error.problem_mark), f"this is no YAML: {words}")
            problems.check()
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            problems.add((line, 1), f"this is no YAML: no such character may be in it: #x{error.character:04x}")
            problems.check()
        except RecursionError:
            problems.add(_START, "the file is nested deeper than any agent needs")
            problems.check()

    def value_place(self, keys: Keys) -> Place:
        """Where a value stands, or the nearest one that holds it."""
        while keys and keys not in self._values:
            keys = keys[:-1]
        return self._values.get(keys, _START)

    def key_place(self, keys: Keys) -> Place:
        """Where the last of the keys stands, or what holds it."""
        return self._keys.get(keys) or self.value_place(keys)

    def _value(self, node: Node, keys: Keys) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            self._problems.add(
                _place(node.start_mark), "the file says more than any agent needs: are aliases to blame?"
            )
            self._problems.check()
        self._values[keys] = _place(node.start_mark)
        if isinstance(node, MappingNode):
            return self._mapping(node, keys)
        if isinstance(node, SequenceNode):
            return [self._value(item, (*keys, number)) for number, item in enumerate(node.value)]
        return self._scalar(node)  # there is no fourth kind

    def _mapping(self, node: MappingNode, keys: Keys) -> dict[str, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                self._problems.add(_place(key.start_mark), "a key has to be a word")
                self._problems.check()
            if key.value in names:
                self._problems.add(_place(key.start_mark), f"{key.value} is said twice: take one of them out")
            names.add(key.value)
        self._loader.flatten_mapping(node)  # what `<<: *others` brings comes first, for the rest to replace
        self._keys |= {(*keys, key.value): _place(key.start_mark) for key, _ in node.value}
        return {key.value: self._value(value, (*keys, key.value)) for key, value in node.value}

    def _scalar(self, node: Node) -> Any:
        try:
            value = self._loader.construct_object(node)
        except (ValueError, KeyError, AttributeError):  # what looks like a date, or is said to be one, and is none
            value = node.value
        return _VARIABLE.sub(lambda found: self._filled(found, node), value) if isinstance(value, str) else value

    def _filled(self, found: re.Match[str], node: Node) -> str:
        name = found[1]
        if name is None:
            return "${"
        if name not in self._variables:
            self._problems.add(
                _place(node.start_mark),
                f"${{{name}}} is not set: set it in the agent's environment, or write $${{ for a plain ${{",
            )
        return self._variables.get(name, "")


def _place(mark: yaml.Mark | None) -> Place:
    return _START if mark is None else (mark.line + 1, mark.column + 1)
