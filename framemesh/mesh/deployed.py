"""The processes that a deployer of this machine started, found by a mark in their environment.

So nobody has to note them: a process that was started a moment before its deployer was killed is found too.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from framemesh.mesh.supervision import UNSEEN

MARK = "FRAMEMESH_DEPLOYED_FROM"
"""Every such process has the deployer's folder in this variable."""

_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Deployed:
    """A process that runs.

    Attributes:
        process: The process.
        program: The module that it runs, as after `python -m`; empty where it runs none.
        arguments: What the module is told.
        env: Its variables of ours.
    """

    process: psutil.Process
    program: str
    arguments: tuple[str, ...]
    env: dict[str, str]


class TakenOver:
    """A process that is no child of ours, for a `Supervisor`: the system tells nobody but its parent how it ends."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        with suppress(psutil.NoSuchProcess):
            if self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
                return None
        return UNSEEN

    async def wait(self) -> int:
        """Wait for its end."""
        while (code := self.returncode) is None:
            await asyncio.sleep(_LOOK_SECONDS)
        return code

    def terminate(self) -> None:
        """Ask it to end."""
        with suppress(psutil.NoSuchProcess):
            self._process.terminate()


def mark(folder: Path) -> dict[str, str]:
    """The variable that marks the processes deployed from this folder."""
    return {MARK: str(folder.resolve())}


def deployed(folder: Path) -> Iterator[Deployed]:
    """The live processes deployed from this folder; of other users none can be seen."""
    place = str(folder.resolve())
    for process in psutil.process_iter():
        try:
            env = process.environ()
            if env.get(MARK) != place or process.status() == psutil.STATUS_ZOMBIE:
                continue
            _, *command = process.cmdline()
        except (psutil.Error, ValueError):  # it is gone, just starts, or is another user's
            continue
        ours = {name: value for name, value in env.items() if name.startswith("FRAMEMESH_")}
        program, arguments = (command[1], command[2:]) if command[:1] == ["-m"] else ("", command)
        yield Deployed(process, program, tuple(arguments), ours)
