"""Downloading a model from the Hugging Face hub."""

import io
import time
from pathlib import Path
from typing import Any

import structlog
from huggingface_hub import constants, errors, snapshot_download
from tqdm import tqdm

from framemesh.errors import ConfigurationError, ModelUnavailableError
from model_server.progress import Tell, nobody

log = structlog.get_logger()

_LOG_SECONDS = 3.0
_TELL_SECONDS = 0.5


def download(source: str, revision: str, patterns: list[str], tell: Tell = nobody) -> Path:
    """The snapshot of a hub id; its folder's name is the commit. Files in the hub's cache aren't fetched again.

    A connection that breaks is taken up where it broke. `HF_TOKEN`, `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` are
    the hub's own variables, and are read by its own library.

    Args:
        source: As `owner/name`.
        revision: A branch, tag or commit; empty means the default branch.
        patterns: The files to fetch; none in folders below.
        tell: Told how far it has come.

    Raises:
        ConfigurationError: There is no such id or revision, or it may not be read.
        ModelUnavailableError: The hub can't be reached now.
    """
    try:
        return Path(
            snapshot_download(
                source,
                revision=revision or None,
                allow_patterns=patterns,
                ignore_patterns=["*/*"],
                tqdm_class=_followed(source, tell),
            )
        )
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


def _followed(source: str, tell: Tell) -> type[tqdm]:
    """A progress bar that tells, and writes `model.downloading` to the log, now and then; nothing to the terminal."""
    due = told = time.monotonic()

    class Bar(tqdm):  # type: ignore[misc]  # it ships no types
        monitor_interval = 0  # or it starts a thread

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options | {"file": io.StringIO(), "disable": False, "leave": False})

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal due, told
            shown: bool | None = super().update(n)
            # The library has one bar that counts files and some that count bytes.
            if self.unit != "B" or not self.total:
                return shown
            fraction, now = round(min(1.0, self.n / self.total), 3), time.monotonic()
            if now >= told:
                told = now + _TELL_SECONDS
                tell("downloading", fraction)
            if now >= due:
                due = now + _LOG_SECONDS
                log.info(
                    "model.downloading",
                    source=source,
                    downloaded_bytes=int(self.n),
                    total_bytes=int(self.total),
                    fraction=fraction,
                )
            return shown

    return Bar
