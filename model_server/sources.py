"""Where a model comes from: a local folder, or the Hugging Face hub."""

import hashlib
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from framemesh.errors import ConfigurationError, ModelUnavailableError
from framemesh.names import to_label
from model_server import digests

FILES = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
]
"""All that is read of a model. No pickle: loading one runs whatever code it holds."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_SLUG_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Source:
    """A model's files on this machine.

    Attributes:
        version: Which weights they are: the hub's commit, or a digest of the local files.
        folder: Where they lie.
    """

    version: str
    folder: Path


def slug(source: str) -> str:
    """A source's name as the name of a folder, for people; versions tell models apart."""
    name = Path(source).resolve().name if Path(source).is_dir() else source
    return to_label(name, max_length=_MAX_SLUG_LENGTH) or "model"


def pinned_version(source: str, revision: str) -> str | None:
    """The version, where it is known without asking the hub: the revision of a hub id is a whole commit."""
    return revision if _COMMIT.fullmatch(revision) and not Path(source).is_dir() else None


def fetch(source: str, revision: str) -> Source:
    """Get the model's files, from the hub only those that aren't in its cache yet.

    Raises:
        ConfigurationError: There is no such folder or hub id, it may not be read, it lacks files, or has its weights
            only as pickle.
        ModelUnavailableError: The hub can't be reached now.
    """
    if Path(source).is_dir():
        folder = Path(source).resolve()
        _check_files(source, folder)
        return Source(_digest(folder), folder)
    if source.startswith((".", "/", "~")):
        raise ConfigurationError(f"there is no model folder {source!r}: check FRAMEMESH_MODEL_SOURCE", source=source)
    folder = _download(source, revision)
    _check_files(source, folder)
    return Source(folder.name, folder)


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder that are read, by name."""
    return sorted(path for path in folder.iterdir() if any(fnmatch(path.name, pattern) for pattern in FILES))


def _digest(folder: Path) -> str:
    listing = "".join(f"{digest}  {name}\n" for name, digest in digests.of_files(model_files(folder)).items())
    return f"sha256-{hashlib.sha256(listing.encode()).hexdigest()[:32]}"


def _check_files(source: str, folder: Path) -> None:
    names = {path.name for path in model_files(folder)}
    if "config.json" not in names:
        raise ConfigurationError(
            f"{source!r} is no transformers model: it has no config.json; save one with model.save_pretrained(folder)",
            source=source,
        )
    if not any(name.endswith(".safetensors") for name in names):
        raise ConfigurationError(
            f"{source!r} has no weights as safetensors; pickled weights (.bin, .pth) could run any code and are not "
            "loaded: load the model yourself where you trust it, and save it with model.save_pretrained(folder)",
            source=source,
        )
    if not names & {"preprocessor_config.json", "processor_config.json"}:
        raise ConfigurationError(
            f"{source!r} has no preprocessor_config.json, so nobody knows what input the model wants; save the "
            "image processor that it was trained with beside it: processor.save_pretrained(folder)",
            source=source,
        )


def _download(source: str, revision: str) -> Path:
    """The snapshot of a hub id; its name is the commit."""
    from huggingface_hub import constants, errors, snapshot_download  # noqa: PLC0415 - a folder needs no hub

    try:
        return Path(snapshot_download(source, revision=revision or None, allow_patterns=FILES, ignore_patterns=["*/*"]))
    except errors.HFValidationError:
        why, mend = "is neither a folder here nor a hub id", "write a path, or owner/name as the hub has it"
    except errors.GatedRepoError:
        why = "is gated at the hub"
        mend = f"accept its conditions at https://huggingface.co/{source} and set HF_TOKEN to your token"
    except errors.RepositoryNotFoundError:
        why, mend = "is neither a folder here nor known at the hub", "check its spelling; a private one needs HF_TOKEN"
    except errors.RevisionNotFoundError:
        why, mend = f"has no revision {revision!r} at the hub", "check FRAMEMESH_MODEL_REVISION"
    except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]  # of whichever HTTP client it uses
        if not constants.HF_HUB_OFFLINE:
            raise ModelUnavailableError(
                f"model source {source!r} can't be downloaded: {str(error).splitlines()[0]}; check the network, the "
                "disk, and that it isn't meant to be a local folder",
                source=source,
            ) from error
        why = "is neither a folder here nor in the hub's cache, and HF_HUB_OFFLINE forbids to ask the hub"
        mend = "check the path, or unset HF_HUB_OFFLINE"
    raise ConfigurationError(f"model source {source!r} {why}: {mend}", source=source, revision=revision)
