"""Having a model prepared by another process, which ends with this one's patience."""

import asyncio
import json
import sys
from pathlib import Path

from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError, InternalError, ModelUnavailableError
from model_server.artifacts import RuntimeName
from model_server.building import EXIT_TRY_AGAIN


async def prepare(source: str, *, revision: str, runtime: RuntimeName, cache: Path) -> Path:
    """The folder of the prepared model. Minutes where it must be downloaded and exported, else a second.

    Cancelled, it kills the process at once; what that has made so far is cleared away by the next.

    Raises:
        ConfigurationError: The model can't be served so; the message says why and what to do.
        ModelUnavailableError: The hub can't be reached now.
        InternalError: The process failed in a way that it didn't foresee; its log says how.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "model_server.building",
        "--revision", revision, "--runtime", runtime, "--cache", str(cache), "--", source,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode not in {0, EXIT_CONFIGURATION, EXIT_TRY_AGAIN}:
        raise InternalError(
            f"preparing {source!r} ended with {process.returncode}; the log has its reason, or it lacked memory (-9)",
            source=source,
        )
    answer = json.loads(output.splitlines()[-1])
    if process.returncode == EXIT_CONFIGURATION:
        raise ConfigurationError(answer["error"], source=source)
    if process.returncode == EXIT_TRY_AGAIN:
        raise ModelUnavailableError(answer["error"], source=source)
    return Path(answer["folder"])
