"""Having a model prepared by another process, which ends with this one's patience."""

import asyncio
import json
import os
import sys
from pathlib import Path

from framemesh.errors import EXIT_CONFIGURATION, EXIT_TRY_AGAIN, InternalError
from framemesh.exits import reported
from model_server.artifacts import is_intact, read_manifest
from model_server.building import Order, find


async def prepare(order: Order) -> Path:
    """The folder of the prepared model. Minutes where it must be downloaded or exported, else an instant.

    Cancelled, it kills the process at once; what that has made so far is cleared away by the next.

    Raises:
        ConfigurationError: The model can't be served so; the message says why and what to do.
        ModelUnavailableError: The hub or the lake can't be reached now.
        InternalError: The process failed in a way that it didn't foresee; its log says how.
    """
    found = await asyncio.to_thread(_found, order)
    return found or await _build(order)


def _found(order: Order) -> Path | None:
    """The folder, if the model is prepared already, be it that the source is one that is prepared so."""
    return Path(order.source) if _is_prepared(order) else find(order)


def _is_prepared(order: Order) -> bool:
    if not is_intact(Path(order.source)):
        return False
    manifest = read_manifest(Path(order.source))
    as_asked = (manifest.runtime, manifest.precision) == (order.runtime, order.precision)
    return as_asked and order.task in {"", manifest.task.name} and order.trust.allows(manifest.trust)


async def _build(order: Order) -> Path:
    source = order.source
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "model_server.building",
        "--cache", str(order.cache),
        "--revision", order.revision,
        "--runtime", order.runtime,
        "--precision", order.precision,
        "--task", order.task,
        *(("--allow-pickle",) if order.trust.pickle else ()),
        *(("--trust-remote-code",) if order.trust.remote_code else ()),
        *(("--samples", str(order.samples)) if order.samples is not None else ()),
        "--", source,
        env={**os.environ, **order.store.variables()},
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
    if (error := reported(process.returncode, answer.get("error", ""), source=source)) is not None:
        raise error
    return Path(answer["folder"])
