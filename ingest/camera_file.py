"""The cameras of an agent as a YAML file: checked whole, with each error at its line."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from framemesh.errors import ConfigurationError
from ingest.documents import Document, Keys, Problems
from ingest.masks import Mask
from ingest.settings import CameraSettings, without_login

_OWN = ("name", "source")
"""What no two cameras have in common."""
_INSTEAD = (
    frozenset({"password", "password_file"}),
    frozenset({"nats_password", "nats_password_file"}),
    frozenset({"width_px", "height_px", "max_width_px", "max_height_px"}),
)
"""Settings that stand for one another: a camera that has one of them takes none from the defaults."""
_LOGIN = frozenset({"username", "password", "password_file"})


def read_cameras(path: Path, variables: Mapping[str, str] = os.environ) -> tuple[CameraSettings, ...]:
    """The cameras that a file describes.

    Args:
        path: A YAML file with the keys `cameras` and, perhaps, `defaults`. Paths in it are relative to its folder.
        variables: What `${NAME}` stands for.

    Raises:
        ConfigurationError: It can't be read or used; the message has a line `file:line:column: what` for each problem.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it isn't text in UTF-8"
        raise ConfigurationError(f"{path} can't be read: {why}", path=path) from error
    problems = Problems(path)
    cameras = _Reader(Document(text, problems, variables), problems).cameras()
    problems.check()
    return tuple(camera.in_folder(path.parent) for camera in cameras)


class _Reader:
    """Finds cameras in a document, and tells what is wrong."""

    def __init__(self, document: Document, problems: Problems) -> None:
        self._document = document
        self._problems = problems
        self._defaults: dict[str, Any] = {}
        self._lines: dict[str, int] = {}

    def cameras(self) -> list[CameraSettings]:
        """The cameras that are sound."""
        content = self._document.content
        if not isinstance(content, dict) or not isinstance(content.get("cameras"), list):
            self._wrong(("cameras",), "write `cameras:` and below it a list, or `cameras: []` for none")
            return []
        for key in content.keys() - {"cameras", "defaults"}:
            self._unknown((key,), ("cameras", "defaults"))
        self._read_defaults(content.get("defaults"))
        found = [self._camera(number, camera) for number, camera in enumerate(content["cameras"])]
        return [camera for camera in found if camera is not None]

    def _read_defaults(self, defaults: object) -> None:
        if defaults is None:
            return
        if not isinstance(defaults, dict):
            self._wrong(("defaults",), "write `defaults:` and below it settings, such as `fps: 5`")
            return
        for key in defaults.keys() & set(_OWN):
            self._problems.add(
                self._document.key_place(("defaults", key)), f"defaults: {key} is each camera's own: say it there"
            )
        self._defaults = {key: value for key, value in defaults.items() if key not in _OWN}
        try:
            CameraSettings.model_validate({"name": "any", "source": "any", **self._defaults})
        except ValidationError as error:
            for one in error.errors(include_url=False):
                self._tell(one, ("defaults", *one["loc"]), "defaults")
                for key in one["loc"][:1] or list(self._defaults):  # told of here, so that no camera has to
                    self._defaults.pop(str(key), None)

    def _camera(self, number: int, camera: object) -> CameraSettings | None:
        keys: Keys = ("cameras", number)
        if not isinstance(camera, dict):
            self._wrong(keys, "a camera is written as `- name: ...` and its other settings below that")
            return None
        name = camera.get("name")
        who = f"camera {name[:80]!r}" if isinstance(name, str) else f"camera {number + 1}"
        try:
            found = CameraSettings.model_validate(_with_defaults(camera, self._defaults))
        except ValidationError as error:
            for one in error.errors(include_url=False):
                self._tell(one, (*keys, *one["loc"]), who)
            return None
        line = self._document.value_place((*keys, "name"))[0]
        if found.name in self._lines:
            self._wrong((*keys, "name"), f"{who}: there is one of this name on line {self._lines[found.name]} already")
        self._lines.setdefault(found.name, line)
        return found

    def _tell(self, error: ErrorDetails, keys: Keys, who: str) -> None:
        loc = error["loc"]
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")
        match error["type"]:
            case "extra_forbidden":
                self._unknown(keys, tuple((Mask if "masks" in loc else CameraSettings).model_fields), who)
                return
            case "missing":
                words = f"{field} is missing"
            case "string_type":
                words = f"{field} should be a string: put it in quotes"
            case "value_error":
                words = f"{field}: {error['ctx']['error']}" if field else str(error["ctx"]["error"])
            case _:
                words = f"{field}: {error['msg']}".replace(": Input should", " should")
        self._wrong(keys, f"{who}: {words}")

    def _unknown(self, keys: Keys, known: tuple[str, ...], who: str = "") -> None:
        near = get_close_matches(str(keys[-1]), known, 1)
        mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        words = f"there is no setting {str(keys[-1])[:80]}; {mend}"
        self._problems.add(self._document.key_place(keys), f"{who}: {words}" if who else words)

    def _wrong(self, keys: Keys, words: str) -> None:
        self._problems.add(self._document.value_place(keys), words)


def _with_defaults(camera: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The camera's own settings, and of the defaults those that they leave open; `null` says a setting unset."""
    said = set(camera).union(*(group for group in _INSTEAD if group & camera.keys()))
    source = camera.get("source")
    if isinstance(source, str) and without_login(source)[1] is not None:
        said |= _LOGIN
    joined = {**{key: value for key, value in defaults.items() if key not in said}, **camera}
    return {key: value for key, value in joined.items() if value is not None or key not in CameraSettings.model_fields}
