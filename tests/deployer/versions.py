"""Versions of one small model in the lake: exported once, told apart by their names."""

import shutil
from dataclasses import replace
from pathlib import Path

from framemesh import digests
from framemesh.settings import ModelStoreSettings
from model_server.artifacts import read_manifest, write_manifest
from model_server.building import upload


def upload_version(prepared: Path, name: str, store: ModelStoreSettings, folder: Path, *, broken: bool = False) -> str:
    """Put a copy of a prepared model into the lake as version `name` of its weights; returns its URL.

    Args:
        prepared: The folder of the prepared model.
        name: Of the version.
        store: Where the lake is.
        folder: Where the copy is made.
        broken: Every byte is as its manifest says, but the graph is none.
    """
    copy = shutil.copytree(prepared, folder / name)
    manifest = replace(read_manifest(copy), version=name)
    if broken:
        (copy / "model.onnx").write_bytes(b"no graph")
        manifest = replace(manifest, files=digests.of_files(copy / file for file in manifest.files))
    write_manifest(copy, manifest)
    url = f"lake://models/tiny/{name}"
    upload(copy, url, store)
    return url
