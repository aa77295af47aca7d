"""Trainings as processes of this machine: one at a time, and only of what serving leaves of it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from deployer import trainer
from deployer.trainings import Tell
from framemesh import trainings
from framemesh.errors import InternalError
from framemesh.mesh.demo import localised
from framemesh.mesh.deployed import TakenOver, deployed, mark
from framemesh.mesh.supervision import Process
from framemesh.v1.model_pb2 import ModelSpec
from framemesh.v1.training_pb2 import TrainingResult, TrainingSpec

log = structlog.get_logger()

_NICENESS = 10
_LOOK_SECONDS = 0.3
_CHECKPOINT_SECONDS = 25.0
"""How long a training that is to end may write a checkpoint: with what servers get, less than a deployer has."""


@dataclass(eq=False, slots=True)
class _Trainer:
    """A training's process.

    Attributes:
        arguments: What it was told.
        process: What runs.
        gone: Set once the process has ended, and everybody who follows it knows.
    """

    arguments: tuple[str, ...]
    process: Process
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class LocalTrainings:
    """Trains around the block; whatever runs at its end writes a checkpoint and ends.

    What a killed deployer left goes on: trainers write what they tell into files.

    Args:
        data_dir: Where logs, datasets and checkpoints are kept.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.resolve()
        self._logs = self._folder / "logs"
        self._trainers: dict[str, _Trainer] = {}
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        for found in deployed(self._folder):
            if found.program == trainer.PROGRAM:
                name = trainer.name_of(found.arguments)
                log.info("training.taken_over", training=name, process_id=found.process.pid)
                self._trainers[name] = _Trainer(found.arguments, TakenOver(found.process))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*map(self.stop, list(self._trainers)))

    async def owned(self) -> set[str]:
        """As `TrainingBackend` says."""
        return set(self._trainers)

    async def train(self, spec: TrainingSpec, tell: Tell) -> TrainingResult:
        """As `TrainingBackend` says."""
        base = await localised(ModelSpec(name=spec.name, source=spec.base), self._folder / "models" / "demo")
        wanted = trainings.arguments(spec, folder=str(self._folder / "training"), base=base.source)
        if spec.name in self._trainers and self._trainers[spec.name].arguments != wanted:
            await self.stop(spec.name)  # of an older wish
        if spec.name not in self._trainers:
            async with self._its_turn(tell):
                self._trainers[spec.name] = _Trainer(wanted, await self._started(spec.name, wanted))
        running = self._trainers[spec.name]
        lines = await self._followed(spec.name, running, tell)
        self._end(spec.name, running)
        code = running.process.returncode
        result = trainer.read_result(lines)
        if result is None:
            raise trainer.failure(1 if code is None else code, lines)
        return result

    async def stop(self, name: str) -> None:
        """As `TrainingBackend` says."""
        running = self._trainers.get(name)
        if running is None:
            return
        running.process.terminate()
        try:
            async with asyncio.timeout(_CHECKPOINT_SECONDS):
                await running.process.wait()
        except TimeoutError:
            log.warning("training.killed", training=name, after_seconds=_CHECKPOINT_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)
            await running.process.wait()
        self._end(name, running)

    @asynccontextmanager
    async def _its_turn(self, tell: Tell) -> AsyncIterator[None]:
        """Around the block nothing else is trained, or about to be."""
        if self._trainers or self._turn.locked():
            tell((), f"waits for {', '.join(sorted(self._trainers)) or 'another training'}, as one trains at a time")
        async with self._turn:
            while self._trainers:
                await next(iter(self._trainers.values())).gone.wait()
            tell((), "")
            yield

    async def _started(self, name: str, arguments: tuple[str, ...]) -> Process:
        with self._said(name).open("wb") as said, (self._logs / f"train-{name}.log").open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", trainer.PROGRAM, *arguments,
                env={**os.environ, **mark(self._folder)},
                stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
        log.info("training.begun", training=name, process_id=process.pid)
        return process

    async def _followed(self, name: str, running: _Trainer, tell: Tell) -> list[str]:
        """Tell what it says until it has ended; returns all of it."""
        lines: list[str] = []
        waiting = asyncio.ensure_future(running.process.wait())
        try:
            with self._said(name).open(encoding="utf-8", errors="replace") as said:
                rest = ""
                while True:
                    ended = waiting.done()
                    *whole, rest = (rest + said.read()).split("\n")
                    if whole:
                        tell(whole, "")
                        lines.extend(whole)
                    if ended:
                        return lines
                    await asyncio.wait((waiting,), timeout=_LOOK_SECONDS)
        except OSError as error:
            raise InternalError(f"can't read what the training says: {error}") from error
        finally:
            waiting.cancel()

    def _end(self, name: str, running: _Trainer) -> None:
        with suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGKILL)  # what it started, if it was killed
        if self._trainers.get(name) is running:
            del self._trainers[name]
        running.gone.set()

    def _said(self, name: str) -> Path:
        return self._logs / f"train-{name}.jsonl"
