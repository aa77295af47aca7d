"""An environment of its own for each peer, upon that of the project.

A peer's own packages come first on its path; what it doesn't bring (ONNX Runtime, Pillow, transformers) is the
project's, so that all run the same builds of it.
"""

import hashlib
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# What the comparison must not differ in. torch, where it is there, for another reason: no peer may bring its own,
# of several GB.
_SHARED = ("onnxruntime", "pillow", "transformers", "torch")
_INSTALL_SECONDS = 900


class UnavailableError(Exception):
    """A peer can't be measured here; the message is the reason that the report gives."""


def python_of(cache: Path, name: str, requirements: tuple[str, ...]) -> Path:
    """The interpreter of a peer's environment, which is made if it isn't there. Takes up to some minutes then.

    Args:
        cache: Where the environments are kept.
        name: The peer's name.
        requirements: Its packages, pinned; without any it runs in the project's own environment.

    Raises:
        UnavailableError: pip can't install them here.
    """
    if not requirements:
        return Path(sys.executable)
    constraints = _constraints()
    wanted = "\n".join((sys.version, *requirements, "--", *constraints))
    folder = cache / "environments" / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        print(f"{name}: installing {' '.join(requirements)}", flush=True)
        venv.create(folder, clear=True)
        _stand_on_project(python)
        _install(python, folder, requirements, constraints)
        ready.touch()
    return python


def _constraints() -> tuple[str, ...]:
    found = []
    for name in _SHARED:
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return tuple(found)


def _stand_on_project(python: Path) -> None:
    """Put the project's packages behind the environment's own."""
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    (Path(own) / "project.pth").write_text(f"{sysconfig.get_path('purelib')}\n")


def _install(python: Path, folder: Path, requirements: tuple[str, ...], constraints: tuple[str, ...]) -> None:
    limits = folder / "constraints.txt"
    limits.write_text("\n".join(constraints))
    command = [
        sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check",
        "--constraint", str(limits), *requirements,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"pip took over {_INSTALL_SECONDS} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise UnavailableError(f"pip: {(lines or ['failed'])[-1].removeprefix('ERROR: ')}")
