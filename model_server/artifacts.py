"""The folder of a prepared model: all that serving it needs, and a manifest that says what it is.

`<cache>/<model>/<version>/<runtime>/` holds `manifest.json` beside the runtime's own files. It is written once,
appears whole, and never changes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from model_server import digests
from model_server.preprocessing import Preprocessing

FORMAT = 1
"""Goes up when a manifest's meaning changes: folders of another format are made anew."""

_MANIFEST = "manifest.json"

RuntimeName = Literal["onnx", "torch"]
Activation = Literal["softmax", "sigmoid", "none"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a prepared model is.

    Attributes:
        format: The manifest's own format.
        version: Which weights: the hub's commit, or a digest of the local files.
        runtime: What runs it.
        task: In the hub's words.
        labels: The classes by index.
        activation: What makes scores of the model's outputs.
        preprocessing: What makes its input of an image.
        files: SHA-256 of each other file in the folder, by name.
    """

    format: int
    version: str
    runtime: RuntimeName
    task: Literal["image-classification"]
    labels: tuple[str, ...]
    activation: Activation
    preprocessing: Preprocessing
    files: dict[str, str]


_adapter = TypeAdapter(Manifest)


def prepared_folder(cache: Path, model: str, version: str, runtime: RuntimeName) -> Path:
    """Where a model is kept once it is prepared."""
    return cache / model / version / runtime


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the manifest into the folder.

    Raises:
        OSError: It can't be written.
    """
    (folder / _MANIFEST).write_bytes(_adapter.dump_json(manifest, indent=2))


def read_manifest(folder: Path) -> Manifest:
    """What the folder holds.

    Raises:
        OSError: It can't be read.
        ValueError: It is none of ours.
    """
    return _adapter.validate_json((folder / _MANIFEST).read_bytes())


def is_intact(folder: Path) -> bool:
    """Whether the folder holds a prepared model of this format, every byte as it was written."""
    try:
        manifest = read_manifest(folder)
        found = digests.of_files(folder / name for name in manifest.files)
    except (OSError, ValidationError):
        return False
    return manifest.format == FORMAT and found == manifest.files
