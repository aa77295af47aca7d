"""What training starts from: a model of the hub, a folder, or one that was trained before."""

import re
from dataclasses import dataclass
from pathlib import Path

from framemesh import digests
from framemesh.errors import ConfigurationError, ModelUnavailableError
from trainer.keeping import Bucket
from trainer.settings import TrainerSettings

TRAINED = "lake://training/"
"""How the bases begin that a training made: `lake://training/<name>/<run>`."""

_FILES = ("config.json", "preprocessor_config.json", "processor_config.json")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_CARD = "README.md"
_LICENCE = re.compile(r"^license(?:_name)?:\s*(\S.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Base:
    """A base on this machine.

    Attributes:
        source: As it was asked for.
        version: Which weights: the hub's commit, or a digest of the files.
        folder: Where they lie.
        licence: What its card says; empty where it says nothing.
    """

    source: str
    version: str
    folder: Path
    licence: str


def fetch(source: str, revision: str, settings: TrainerSettings, folder: Path) -> Base:
    """Get a base's files; `folder` is where one of the lake may lie.

    Raises:
        ConfigurationError: There is none, or it can't be trained: it lacks files, or has its weights only as pickle.
        ModelUnavailableError: The hub can't be reached now.
        LakeUnavailableError: The lake can't be reached now.
    """
    if source.startswith(TRAINED):
        key = source.removeprefix(TRAINED).strip("/")
        if key.count("/") != 1:
            raise ConfigurationError(f"{source!r} names no training: write {TRAINED}NAME/RUN")
        place = folder / "bases" / key
        Bucket(settings, settings.s3_training_bucket).get(f"{key}/model", place)
    elif source.startswith("lake://"):
        raise ConfigurationError(
            f"{source} is prepared for serving, and has no weights to learn with: name a hub id, a folder, or what a "
            f"training left, {TRAINED}NAME/RUN"
        )
    elif Path(source).is_dir():
        place = Path(source).resolve()
    elif source.startswith((".", "/", "~")):
        raise ConfigurationError(f"there is no model folder {source!r}")
    else:
        place = _from_hub(source, revision)
        return Base(source, place.name, _checked(source, place), _licence(place))
    return Base(source, _version(place), _checked(source, place), _licence(place))


def _from_hub(source: str, revision: str) -> Path:
    from huggingface_hub import constants, errors, snapshot_download  # noqa: PLC0415 - a folder needs no hub

    try:
        return Path(snapshot_download(source, revision=revision or None, allow_patterns=[*_FILES, *_WEIGHTS, _CARD]))
    except errors.GatedRepoError:
        mend = f"accept its conditions at https://huggingface.co/{source} and set HF_TOKEN to your token"
    except (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        mend = "check its spelling and --revision; a private one needs HF_TOKEN"
    except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]  # of whichever HTTP client it uses
        if not constants.HF_HUB_OFFLINE:
            raise ModelUnavailableError(f"the hub can't be asked for {source!r} now: {error}") from error
        mend = "HF_HUB_OFFLINE forbids to ask the hub, and its cache has none"
    raise ConfigurationError(f"there is no base {source!r}: {mend}")


def _checked(source: str, folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"{source!r} is no transformers model: it has no config.json")
    if not any(folder.glob("*.safetensors")):
        raise ConfigurationError(
            f"{source!r} has no weights as safetensors; pickled ones could run any code and are not loaded: where you "
            "trust the model, load it yourself and save it with model.save_pretrained(folder)"
        )
    if not any((folder / name).is_file() for name in _FILES[1:]):
        raise ConfigurationError(f"{source!r} has no preprocessor_config.json, so nobody knows what input it wants")
    return folder


def _version(folder: Path) -> str:
    """A digest of what is read of a folder."""
    return digests.version_of(path for pattern in (*_FILES, *_WEIGHTS) for path in folder.glob(pattern))


def _licence(folder: Path) -> str:
    """The licence in the front matter of a model card."""
    card = folder / _CARD
    if not card.is_file():
        return ""
    found = _LICENCE.search(card.read_text(errors="replace").partition("\n---")[0])
    return found[1].strip() if found else ""
