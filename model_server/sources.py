"""Where a model comes from: a local folder or the Hugging Face hub, or, prepared already, the lake."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from framemesh import digests
from framemesh.errors import ConfigurationError
from framemesh.names import to_label
from framemesh.specs import IN_LAKE, LAKE
from model_server.progress import Tell, nobody
from model_server.trust import Trust

_DESCRIPTIONS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
_SAFE_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_PICKLED_WEIGHTS = ("pytorch_model*.bin", "pytorch_model*.bin.index.json")
_CODE = ("*.py",)
_SAFE = (*_DESCRIPTIONS, *_SAFE_WEIGHTS)

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


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model in the lake. Its `str` is its URL."""

    name: str
    version: str

    @classmethod
    def parse(cls, url: str) -> "StoredModel":
        """The model that a URL names.

        Raises:
            ConfigurationError: It isn't such a URL.
        """
        found = IN_LAKE.fullmatch(url)
        if found is None:
            raise ConfigurationError(
                f"{url!r} names no model in the lake: write {LAKE}<name>/<version>, the name as a DNS label of at most "
                "40 characters, the version of letters, digits, '.', '_' and '-'",
                source=url,
            )
        return cls(found["name"], found["version"])

    def __str__(self) -> str:
        return f"{LAKE}{self.name}/{self.version}"

    def key(self, file: str) -> str:
        """The key of one of its files in the bucket of models."""
        return f"{self.name}/{self.version}/{file}"


def slug(source: str) -> str:
    """A source's name as the name of a folder, for people; versions tell models apart."""
    name = Path(source).resolve().name if Path(source).is_dir() else source
    return to_label(name, max_length=_MAX_SLUG_LENGTH) or "model"


def known_version(source: str, revision: str, trust: Trust) -> str | None:
    """The version, where it is known without asking the hub: of a folder, or where the revision is a whole commit."""
    if Path(source).is_dir():
        return digests.version_of(model_files(Path(source).resolve(), trust))
    return revision if _COMMIT.fullmatch(revision) else None


def fetch(source: str, revision: str, trust: Trust, tell: Tell = nobody) -> Source:
    """Get the model's files, from the hub only those that aren't in its cache yet; `tell` is told how far that is.

    Raises:
        ConfigurationError: There is no such folder or hub id, it may not be read, it lacks files, or has its weights
            only as pickle.
        ModelUnavailableError: The hub can't be reached now.
    """
    if Path(source).is_dir():
        folder = Path(source).resolve()
        _check_files(source, folder, trust)
        return Source(digests.version_of(model_files(folder, trust)), folder)
    if source.startswith((".", "/", "~")):
        raise ConfigurationError(
            f"there is no model folder {source!r} on the machine that prepares it: check the path, or name a Hugging "
            "Face id",
            source=source,
        )
    from model_server import downloading  # noqa: PLC0415 - a folder needs no hub

    tell("downloading", 0.0)
    folder = downloading.download(source, revision, [*_SAFE, *(_CODE if trust.remote_code else ())], tell)
    if trust.pickle and not any(is_weights(path.name) for path in folder.iterdir()):
        folder = downloading.download(source, folder.name, list(_PICKLED_WEIGHTS), tell)
    _check_files(source, folder, trust)
    return Source(folder.name, folder)


def model_files(folder: Path, trust: Trust) -> list[Path]:
    """The files of a model folder that are read, by name.

    A pickle runs whatever code it holds, as the folder's own Python does: both only where they are allowed, and pickles
    only where the weights are nowhere else.
    """
    paths = sorted(folder.iterdir())
    safe = any(_matches(path.name, _SAFE_WEIGHTS) for path in paths)
    pickled = _PICKLED_WEIGHTS if trust.pickle and not safe else ()
    code = _CODE if trust.remote_code else ()
    return [path for path in paths if _matches(path.name, (*_SAFE, *pickled, *code))]


def cards(folder: Path) -> list[Path]:
    """The model card, where there is one: it goes with the model, and tells no weights apart."""
    return [path for path in (folder / "README.md",) if path.is_file()]


def is_weights(name: str) -> bool:
    """Whether a file of that name holds weights."""
    return _matches(name, (*_SAFE_WEIGHTS, *_PICKLED_WEIGHTS))


def needed_trust(names: Iterable[str]) -> Trust:
    """What a model with files of these names has to be allowed before they are read."""
    names = list(names)
    return Trust(
        pickle=any(_matches(name, _PICKLED_WEIGHTS) for name in names),
        remote_code=any(_matches(name, _CODE) for name in names),
    )


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _check_files(source: str, folder: Path, trust: Trust) -> None:
    names = {path.name for path in model_files(folder, trust)}
    if "config.json" not in names:
        raise ConfigurationError(
            f"{source!r} is no transformers model: it has no config.json; save one with model.save_pretrained(folder)",
            source=source,
        )
    if not any(is_weights(name) for name in names):
        mend = (
            "there is no pytorch_model.bin either: save the model with model.save_pretrained(folder)"
            if trust.pickle
            else "pickled weights (.bin, .pth) could run any code and are not loaded: load the model yourself where "
            "you trust it and save it with model.save_pretrained(folder), or set FRAMEMESH_MODEL_ALLOW_PICKLE=true"
        )
        raise ConfigurationError(f"{source!r} has no weights as safetensors; {mend}", source=source)
    if not names & {"preprocessor_config.json", "processor_config.json"}:
        raise ConfigurationError(
            f"{source!r} has no preprocessor_config.json, so nobody knows what input the model wants; save the "
            "image processor that it was trained with beside it: processor.save_pretrained(folder)",
            source=source,
        )
