"""The folder of a prepared model: all that serving it needs, and a manifest that says what it is.

`<cache>/<model>/<version>/<form>/` holds `manifest.json` beside the runtime's own files, where the form names what was
asked for, such as `onnx-fp32`. It is written once, appears whole, and never changes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from framemesh import digests
from model_server.preprocessing import Preprocessing
from model_server.tasks import Task
from model_server.trust import Trust

FORMAT = 2
"""Goes up when a manifest's meaning changes: folders of another format are made anew."""

PARITY = "parity.json"
"""How well the prepared model agrees with transformers on torch."""

MANIFEST = "manifest.json"

RuntimeName = Literal["onnx", "torch"]
PrecisionName = Literal["fp32", "int8", "fp16", "bf16"]
PreprocessingName = Literal["fast", "exact"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a prepared model is.

    Attributes:
        format: The manifest's own format.
        version: Which weights: the hub's commit, or a digest of the local files.
        runtime: What runs it.
        precision: Of its arithmetic.
        fallback_reason: Why it runs otherwise than it was asked to; empty where it does as asked.
        task: What it does, and all that its answers depend on.
        preprocessing: What makes its input of an image; None where only transformers' own processor does.
        preferred: Which of the two was found good enough.
        trust: What the model was allowed when it was prepared, and is allowed again when torch loads it.
        files: SHA-256 of each other file in the folder, by name.
    """

    format: int
    version: str
    runtime: RuntimeName
    precision: PrecisionName
    fallback_reason: str
    task: Task
    preprocessing: Preprocessing | None
    preferred: PreprocessingName
    trust: Trust
    files: dict[str, str]


_adapter = TypeAdapter(Manifest)


def prepared_folder(cache: Path, model: str, version: str, form: str) -> Path:
    """Where a model is kept once it is prepared."""
    return cache / model / version / form


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the manifest into the folder.

    Raises:
        OSError: It can't be written.
    """
    (folder / MANIFEST).write_bytes(_adapter.dump_json(manifest, indent=2))


def read_manifest(folder: Path) -> Manifest:
    """What the folder holds.

    Raises:
        OSError: It can't be read.
        ValueError: It is none of ours.
    """
    return parse_manifest((folder / MANIFEST).read_bytes())


def parse_manifest(text: bytes) -> Manifest:
    """The manifest in a file's content.

    Raises:
        ValueError: It is none of ours.
    """
    return _adapter.validate_json(text)


def is_intact(folder: Path) -> bool:
    """Whether the folder holds a prepared model of this format, every byte as it was written."""
    try:
        manifest = read_manifest(folder)
        found = digests.of_files(folder / name for name in manifest.files)
    except (OSError, ValidationError):
        return False
    return manifest.format == FORMAT and found == manifest.files
