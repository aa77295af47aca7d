"""The program that prepares a model, in a process of its own: `python -m model_server.building SOURCE ...`.

It needs torch and transformers, which take a second and half a gigabyte; the serving process stays free of both.
The last line on standard output is a JSON object: `{"folder": ...}` or `{"error": ...}`.
"""

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError, FramemeshError
from framemesh.folders import made_once
from framemesh.telemetry import logs
from model_server import digests, sources
from model_server.artifacts import FORMAT, Manifest, RuntimeName, is_intact, prepared_folder, write_manifest

EXIT_TRY_AGAIN = 75
"""BSD's EX_TEMPFAIL (sysexits.h): nothing is wrong with what was set."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which model to prepare, for which runtime, and where."""

    source: str
    revision: str
    runtime: RuntimeName
    cache: Path


def build(order: Order) -> Path:
    """The folder of the prepared model; makes it if it isn't there.

    Raises:
        ConfigurationError: The model can't be served so; the message says why and what to do.
        ModelUnavailableError: The hub can't be reached now.
    """
    slug = sources.slug(order.source)
    version = sources.pinned_version(order.source, order.revision)
    if version is not None and is_intact(pinned := prepared_folder(order.cache, slug, version, order.runtime)):
        return pinned  # without asking the hub
    source = sources.fetch(order.source, order.revision)
    folder = prepared_folder(order.cache, slug, source.version, order.runtime)
    try:
        with made_once(folder, intact=is_intact) as unfinished:
            if unfinished is not None:
                _fill(unfinished, source, order.runtime)
    except OSError as error:
        raise ConfigurationError(
            f"can't write the prepared model to {folder}: {error.strerror or error}; check FRAMEMESH_MODEL_CACHE",
            folder=folder,
        ) from error
    return folder


def _fill(folder: Path, source: sources.Source, runtime: RuntimeName) -> None:
    try:
        from model_server import checkpoints, exporting  # noqa: PLC0415 - a model that is prepared needs no torch
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"preparing a model needs {error.name}: pip install 'framemesh[torch]', or prepare it on a machine that "
            "has it and share FRAMEMESH_MODEL_CACHE"
        ) from error
    config = checkpoints.load_config(source.folder)
    preprocessing = checkpoints.read_preprocessing(source.folder)
    network = checkpoints.load_network(source.folder)
    if runtime == "onnx":
        exporting.export(network, preprocessing, folder)
    else:
        for path in sources.model_files(source.folder):
            shutil.copyfile(path, folder / path.name)
    manifest = Manifest(
        format=FORMAT,
        version=source.version,
        runtime=runtime,
        task="image-classification",
        labels=checkpoints.labels(config),
        activation=checkpoints.activation(config),
        preprocessing=preprocessing,
        files=digests.of_files(folder.iterdir()),
    )
    write_manifest(folder, manifest)


def main() -> None:
    """Run the program. Exits 78 where the model can't be served so, 75 where trying again may help."""
    parser = argparse.ArgumentParser(prog="python -m model_server.building", description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--revision", required=True)
    parser.add_argument("--runtime", choices=("onnx", "torch"), required=True)
    parser.add_argument("--cache", type=Path, required=True)
    arguments = parser.parse_args()
    logs.configure("info", service="model_server")
    try:
        answer, code = {"folder": str(build(Order(**vars(arguments))))}, 0
    except FramemeshError as error:
        answer = {"error": str(error)}
        code = EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_TRY_AGAIN
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
