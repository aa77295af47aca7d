"""The program that prepares a model, in a process of its own: `python -m model_server.building SOURCE ...`.

It needs torch and transformers, which take a second and half a gigabyte; the serving process stays free of both.
A model that was prepared before comes from the lake, and one that is prepared here can be put there.
Each line on standard output is a JSON object. While it goes on: `{"step": "downloading", "share": 0.4}`, where the step
may also be `exporting`, `uploading`, or `standing_in` once the stand-in is there; it then waits for a line, or the end,
of standard input, so that the stand-in gets the cores to start. The last: `{"folder": ...}`, or, of a model that was
published, `{"source": "lake://...", "version": ..., "runtime": ...}`, or `{"error": ...}`.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import copytree
from types import ModuleType
from typing import NoReturn, get_args

from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError, FramemeshError
from framemesh.exits import exit_code
from framemesh.folders import linked, made_once
from framemesh.leaving import leave
from framemesh.settings import ModelStoreSettings
from framemesh.specs import LAKE
from framemesh.telemetry import logs
from model_server import sources
from model_server.artifacts import (
    FORMAT,
    Manifest,
    PrecisionName,
    RuntimeName,
    is_intact,
    prepared_folder,
    read_manifest,
)
from model_server.progress import Step, Tell, nobody
from model_server.settings import PreparationSettings
from model_server.sources import StoredModel
from model_server.trust import Trust


@dataclass(frozen=True, slots=True)
class Order:
    """Which model to prepare, how, and where.

    Attributes:
        source: A hub id, a folder, or `lake://models/<name>/<version>`.
        cache: Folder of prepared models.
        revision: The hub's branch, tag or commit; empty means the default branch.
        runtime: What is to run it.
        precision: Of its arithmetic.
        task: In the hub's words; empty means what its config.json says.
        trust: What the model may do.
        samples: Folder of photos to compare and calibrate on; None means those of scikit-image.
        stand_in: Folder for what torch can run while the model is exported; None means that nobody wants it.
        store: Where the lake's models are.
    """

    source: str
    cache: Path
    revision: str = ""
    runtime: RuntimeName = "onnx"
    precision: PrecisionName = "fp32"
    task: str = ""
    trust: Trust = field(default_factory=Trust)
    samples: Path | None = None
    stand_in: Path | None = None
    store: ModelStoreSettings = field(default_factory=ModelStoreSettings.model_construct)

    @property
    def form(self) -> str:
        """The name of the folder for what is asked for. What one server may load another may not."""
        allowed = ("pickle" if self.trust.pickle else "", "code" if self.trust.remote_code else "")
        return "-".join(filter(None, (self.runtime, self.precision, self.task, *allowed)))

    @property
    def stored(self) -> StoredModel | None:
        """The model in the lake, where it comes from there.

        Raises:
            ConfigurationError: The source is no such URL, though it begins like one.
        """
        return StoredModel.parse(self.source) if self.source.startswith(LAKE) else None


def find(order: Order) -> Path | None:
    """The folder of the model if it is prepared already; neither the hub nor the lake is asked.

    Raises:
        ConfigurationError: The source is no URL of the lake, though it begins like one, or the model from there isn't
            what is asked for.
    """
    if order.stored is not None:
        folder = _stored_folder(order.cache, order.stored)
        if not is_intact(folder):
            return None
        _check_stored(order, read_manifest(folder))
        return folder
    version = sources.known_version(order.source, order.revision, order.trust)
    if version is None:
        return None
    folder = prepared_folder(order.cache, sources.slug(order.source), version, order.form)
    return folder if is_intact(folder) else None


@dataclass(frozen=True, slots=True)
class Published:
    """A prepared model in the lake.

    Attributes:
        version: Which weights: the hub's commit, or a digest of the local files.
        runtime: What runs it, be it as asked or a fallback.
        stored: Where it lies.
    """

    version: str
    runtime: RuntimeName
    stored: StoredModel


def build(order: Order, tell: Tell = nobody) -> Path:
    """The folder of the prepared model; makes it if it isn't there, and tells how far that is.

    Raises:
        ConfigurationError: The model can't be served so; the message says why and what to do.
        ModelUnavailableError: The hub can't be reached now.
        LakeUnavailableError: The lake can't be reached now.
    """
    if (found := find(order)) is not None:
        return found
    if (stored := order.stored) is not None:
        folder = _stored_folder(order.cache, stored)
        _fill(folder, lambda unfinished: _fetch(order, stored, unfinished))
        return folder
    return _built(order, sources.fetch(order.source, order.revision, order.trust, tell), tell)


def publish(order: Order, name: str, tell: Tell = nobody) -> Published:
    """Have the model in the lake, under this name and a version of its weights and form; makes it if it isn't there.

    A model that comes from the lake stays where it is there; it is only fetched, and so checked.

    Raises:
        ConfigurationError: As `build`; or where the lake is isn't set, or it refuses its keys.
        ModelUnavailableError: The hub can't be reached now.
        LakeUnavailableError: The lake can't be reached now.
    """
    if order.stored is not None:
        there = read_manifest(build(order, tell))
        return Published(there.version, there.runtime, order.stored)
    version, source = sources.known_version(order.source, order.revision, order.trust), None
    if version is None:
        source = sources.fetch(order.source, order.revision, order.trust, tell)
        version = source.version
    stored = StoredModel.parse(f"{LAKE}{name}/{version}-{order.form}-f{FORMAT}")
    manifest: Manifest | None = _store().find(stored, order.store)
    if manifest is None:
        folder = build(order, tell) if source is None else _built(order, source, tell)
        manifest = read_manifest(folder)
        _store().upload(folder, stored, order.store, tell)
        # Servers that share this cache need not fetch what was made here.
        _fill(_stored_folder(order.cache, stored), partial(copytree, folder, copy_function=linked, dirs_exist_ok=True))
    return Published(version, manifest.runtime, stored)


def upload(folder: Path, url: str, store: ModelStoreSettings, tell: Tell = nobody) -> None:
    """Put a prepared model into the lake, as `lake://models/<name>/<version>`.

    Raises:
        ConfigurationError: It is no such URL, the lake isn't set or refuses its keys, or has another model there.
        LakeUnavailableError: The lake can't be reached now.
    """
    _store().upload(folder, StoredModel.parse(url), store, tell)


def _built(order: Order, source: sources.Source, tell: Tell) -> Path:
    folder = prepared_folder(order.cache, sources.slug(order.source), source.version, order.form)

    def fill(unfinished: Path) -> None:
        tell("exporting", 0.0)
        _make(order, source, unfinished, tell)

    _fill(folder, fill)
    return folder


def _fill(folder: Path, fill: Callable[[Path], None]) -> None:
    try:
        with made_once(folder, intact=is_intact) as unfinished:
            if unfinished is not None:
                fill(unfinished)
    except OSError as error:
        raise ConfigurationError(
            f"can't write the prepared model to {folder}: {error.strerror or error}; check FRAMEMESH_MODEL_CACHE",
            folder=folder,
        ) from error


def _make(order: Order, source: sources.Source, folder: Path, tell: Tell) -> None:
    try:
        from model_server import making  # noqa: PLC0415 - a model that is prepared needs no torch
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"preparing a model needs {error.name}: pip install 'framemesh[torch]', or prepare it on a machine that "
            "has it and share FRAMEMESH_MODEL_CACHE, or put it into the lake: framemesh export MODEL --upload "
            "lake://models/NAME/VERSION"
        ) from error
    making.make(order, source, folder, tell)


def _fetch(order: Order, stored: StoredModel, folder: Path) -> None:
    _store().download(stored, folder, order.store, lambda manifest: _check_stored(order, manifest))


def _store() -> ModuleType:
    try:
        from model_server import model_store  # noqa: PLC0415 - S3 is for models of the lake alone
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"a model of the lake needs {error.name}: pip install 'framemesh[model-server]'"
        ) from error
    return model_store


def _stored_folder(cache: Path, stored: StoredModel) -> Path:
    return prepared_folder(cache, stored.name, stored.version, "lake")


def _check_stored(order: Order, manifest: Manifest) -> None:
    """Pass a model of the lake that may be loaded, and is what is asked for wherever that isn't the default."""
    needed = sources.needed_trust(manifest.files)
    if not order.trust.allows(needed):
        variable = "ALLOW_PICKLE" if needed.pickle and not order.trust.pickle else "TRUST_REMOTE_CODE"
        raise ConfigurationError(
            f"{order.source} has files that can run any code: where you trust it, set FRAMEMESH_MODEL_{variable}=true",
            source=order.source,
        )
    for what, asked, default, found in (
        ("runtime", order.runtime, "onnx", manifest.runtime),
        ("precision", order.precision, "fp32", manifest.precision),
        ("task", order.task, "", manifest.task.name),
    ):
        if asked not in {default, found}:
            raise ConfigurationError(
                f"{order.source} was exported with {what} {found}, not {asked}: ask for that, or export it anew",
                source=order.source,
            )


def main() -> NoReturn:
    """Run the program. Exits 78 where the model can't be served so, 75 where trying again may help."""
    parser = argparse.ArgumentParser(prog="python -m model_server.building", description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--revision", default="")
    parser.add_argument("--runtime", choices=get_args(RuntimeName), default="onnx")
    parser.add_argument("--precision", choices=get_args(PrecisionName), default="fp32")
    parser.add_argument("--task", default="")
    parser.add_argument("--allow-pickle", action="store_true")
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--stand-in", type=Path, metavar="FOLDER", help="first leave there what torch can run")
    to_lake = parser.add_mutually_exclusive_group()
    to_lake.add_argument("--upload", metavar="lake://models/NAME/VERSION", default="")
    to_lake.add_argument("--publish", metavar="NAME", default="", help="under a version of its weights and form")
    arguments = vars(parser.parse_args())
    allowed = PreparationSettings()
    trust = Trust(
        pickle=arguments.pop("allow_pickle") or allowed.model_allow_pickle,
        remote_code=arguments.pop("trust_remote_code") or allowed.model_trust_remote_code,
    )
    arguments["samples"] = arguments["samples"] or allowed.model_samples
    url, name = arguments.pop("upload"), arguments.pop("publish")
    logs.configure("info", service="model_server")
    try:
        order = Order(**arguments, trust=trust, store=ModelStoreSettings())
        if name:
            published = publish(order, name, _say_step)
            answer = {
                "source": str(published.stored), "version": published.version, "runtime": published.runtime,
            }  # fmt: skip
        else:
            if url:
                StoredModel.parse(url)  # before minutes go into what can't be put there
            folder = build(order, _say_step)
            if url:
                upload(folder, url, order.store, _say_step)
            answer = {"folder": str(folder)}
        code = 0
    except FramemeshError as error:
        answer = {"error": str(error)}
        code = exit_code(error)
    except MemoryError:
        answer, code = {"error": "out of memory: prepare the model on a machine that has more"}, EXIT_CONFIGURATION
    _say(**answer)
    leave(code)


def _say_step(step: Step, share: float) -> None:
    _say(step=step, share=share)
    if step == "standing_in":
        sys.stdin.readline()


def _say(**facts: object) -> None:
    sys.stdout.write(f"{json.dumps(facts)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
