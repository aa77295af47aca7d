"""The lake's model store: prepared models that many servers fetch, every byte checked by its digest.

`lake://models/<name>/<version>` is `<name>/<version>/` in the bucket of models: the files of a prepared folder and,
written last, its manifest. So half an upload is no model. A version never changes once it is there.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from framemesh import digests
from framemesh.errors import ConfigurationError, FrameNotFoundError
from framemesh.lake import Lake
from framemesh.settings import ModelStoreSettings
from model_server.artifacts import FORMAT, MANIFEST, Manifest, parse_manifest, read_manifest
from model_server.progress import Tell, nobody
from model_server.sources import StoredModel

log = structlog.get_logger()

_MANIFEST_TYPE = "application/json"


def find(model: StoredModel, settings: ModelStoreSettings) -> Manifest | None:
    """The manifest of a model of the lake; none where it isn't there.

    Raises:
        ConfigurationError: Where the lake is isn't set, its keys are wrong, or the manifest is damaged.
        LakeUnavailableError: The lake can't be reached.
    """
    return asyncio.run(_find(model, settings))


def upload(folder: Path, model: StoredModel, settings: ModelStoreSettings, tell: Tell = nobody) -> None:
    """Put a prepared folder into the lake, its manifest last; `tell` is told how far that is.

    Raises:
        ConfigurationError: Where the lake is isn't set, its keys are wrong, or it has another model of that version.
        LakeUnavailableError: The lake can't be reached; uploading again goes on.
    """
    tell("uploading", 0.0)
    asyncio.run(_upload(folder, model, settings, tell))


def download(model: StoredModel, folder: Path, settings: ModelStoreSettings, check: Callable[[Manifest], None]) -> None:
    """Fill an empty folder with a model of the lake.

    Args:
        model: Which one.
        folder: Where it goes.
        settings: Where the lake is.
        check: Raises `ConfigurationError` on the manifest of a model that must not be fetched.

    Raises:
        ConfigurationError: Where the lake is isn't set, its keys are wrong, it has no such model, a file of it is
            missing or damaged, or the check says so.
        LakeUnavailableError: The lake can't be reached.
    """
    asyncio.run(_download(model, folder, settings, check))


async def _find(model: StoredModel, settings: ModelStoreSettings) -> Manifest | None:
    async with _open(model, settings) as lake:
        try:
            body, _ = await lake.get(model.key(MANIFEST))
        except FrameNotFoundError:
            return None
        return _parsed(model, body)


async def _upload(folder: Path, model: StoredModel, settings: ModelStoreSettings, tell: Tell) -> None:
    manifest = (folder / MANIFEST).read_bytes()
    async with _open(model, settings) as lake:
        try:
            there, _ = await lake.get(model.key(MANIFEST))
        except FrameNotFoundError:
            sizes = {name: (folder / name).stat().st_size for name in read_manifest(folder).files}
            done = 0
            for name, size in sizes.items():
                await lake.put_file(model.key(name), folder / name)
                done += size
                tell("uploading", done / max(1, sum(sizes.values())))
            await lake.put(model.key(MANIFEST), manifest, content_type=_MANIFEST_TYPE, metadata={})
            log.info("model.uploaded", model=str(model))
            return
    if there != manifest:
        raise ConfigurationError(f"{model} is there already, with other content: choose another version")


async def _download(
    model: StoredModel, folder: Path, settings: ModelStoreSettings, check: Callable[[Manifest], None]
) -> None:
    async with _open(model, settings) as lake:
        try:
            body, _ = await lake.get(model.key(MANIFEST))
        except FrameNotFoundError:
            raise ConfigurationError(
                f"there is no model {model}, or its upload never ended: make it with "
                f"`framemesh export MODEL --upload {model}`"
            ) from None
        manifest = _parsed(model, body)
        check(manifest)
        log.info("model.fetching", model=str(model), files=len(manifest.files))
        for name, digest in manifest.files.items():
            try:
                await lake.get_file(model.key(name), folder / name)
            except FrameNotFoundError:
                raise ConfigurationError(
                    f"{name} of {model} is missing in the lake: export it as a new version"
                ) from None
            found = await asyncio.to_thread(digests.of_file, folder / name)
            if found != digest:
                raise ConfigurationError(
                    f"{name} of {model} is damaged: its SHA-256 is {found}, where the manifest says {digest}; export "
                    "it as a new version",
                    file=name,
                )
        (folder / MANIFEST).write_bytes(body)


def _open(model: StoredModel, settings: ModelStoreSettings) -> Lake:
    lake = Lake.of_models(settings)
    if lake is None:
        unset = ", ".join(name for name, value in settings.variables().items() if not value)
        raise ConfigurationError(f"{model} is in the data lake, and where that is isn't set: set {unset}")
    return lake


def _parsed(model: StoredModel, body: bytes) -> Manifest:
    try:
        manifest = parse_manifest(body)
    except ValueError as error:
        raise ConfigurationError(f"the manifest of {model} is damaged, or of another version of framemesh") from error
    if manifest.format != FORMAT:
        raise ConfigurationError(f"{model} was prepared by another version of framemesh: export it again")
    for name in manifest.files:
        if name in {"", "..", MANIFEST} or Path(name).name != name:
            raise ConfigurationError(f"the manifest of {model} names {name!r}, which is no file of a model")
    return manifest
