"""The processes that a deployer of this machine started, found by a mark in their environment.

So nobody has to note them: a process that was started a moment before its deployer was killed is found too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "FRAMEMESH_DEPLOYED_FROM"
"""Every such process has the deployer's folder in this variable."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A process that runs.

    Attributes:
        process: The process.
        program: What it runs, as after `python -m`; empty for what such a program started.
        env: Its variables of ours.
    """

    process: psutil.Process
    program: str
    env: dict[str, str]


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
            program = process.cmdline()[1:3]
        except psutil.Error:  # it is gone, or another user's
            continue
        ours = {name: value for name, value in env.items() if name.startswith("FRAMEMESH_")}
        yield Deployed(process, program[1] if program[:1] == ["-m"] else "", ours)
