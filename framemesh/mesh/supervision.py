"""Child processes: started, watched, restarted with back-off, stopped in reverse order."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError

_POLL_SECONDS = 0.05
_BACKOFF_FIRST_SECONDS = 0.5
_BACKOFF_LAST_SECONDS = 30.0
_STABLE_SECONDS = 30.0
_TAIL_LINES = 12
_MAX_LOG_BYTES = 64 * 1024 * 1024
UNSEEN = 256
"""The exit code of a process whose own nobody saw: real ones end at 255."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to run.

    Attributes:
        name: Unique in its supervisor; names its log file too.
        argv: The program and its arguments.
        env: Variables on top of the supervisor's own.
        ready: Says whether the process does its work; asked again and again while it starts.
        start_seconds: How long it may take to be ready.
        stop_seconds: How long it may drain after SIGTERM before it is killed.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    ready: Callable[[], Awaitable[bool]]
    start_seconds: float = 30.0
    stop_seconds: float = 30.0


class Process(Protocol):
    """What a supervisor needs of a process: as `asyncio.subprocess.Process` has it."""

    @property
    def pid(self) -> int:
        """Its id."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; none while it runs."""

    async def wait(self) -> int:
        """Wait for its end; returns its exit code."""

    def terminate(self) -> None:
        """Send it SIGTERM."""


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    process: Process
    started: float
    log_start: int
    watcher: asyncio.Task[None] | None = None
    restarts: int = 0


class Supervisor:
    """Runs processes until the block ends, then stops them in reverse order.

    Args:
        logs: Folder for `<name>.log` files; made if it isn't there.
        on_event: Told in words of each crash and restart.
    """

    def __init__(self, logs: Path, *, on_event: Callable[[str], None]) -> None:
        self._logs = logs
        self._on_event = on_event
        self._children: dict[str, _Child] = {}
        self.on_change: Callable[[], None] = lambda: None
        """Called after each start and end of a process."""

    async def __aenter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in reversed(list(self._children)):
            await self.stop(name)

    def pids(self) -> dict[str, int]:
        """The live processes' ids by name."""
        return {name: child.process.pid for name, child in self._children.items() if child.process.returncode is None}

    async def start(self, spec: ProcessSpec, *, running: Process | None = None) -> None:
        """Start a process and wait until it is ready; from then on it is restarted whenever it ends.

        Args:
            spec: The process.
            running: One that runs already, of a supervisor that was killed, to be looked after from now on.

        Raises:
            ConfigurationError: It ended or wasn't ready in time; the message has the end of its log.
            ValueError: One of that name runs already.
        """
        if spec.name in self._children:
            raise ValueError(f"a process called {spec.name!r} runs already")
        child = await self._spawn(spec) if running is None else self._adopt(spec, running)
        self._children[spec.name] = child
        self.changed()
        deadline = time.monotonic() + spec.start_seconds
        while not await spec.ready():
            code = child.process.returncode
            if code is not None or time.monotonic() > deadline:
                del self._children[spec.name]
                await _end(child)
                why = f"ended with {_ending(code)}" if code is not None else f"wasn't ready in {spec.start_seconds:g} s"
                raise ConfigurationError(f"{spec.name} {why}; its log ends with:\n{self._tail(child)}", name=spec.name)
            await asyncio.sleep(_POLL_SECONDS)
        child.watcher = asyncio.create_task(self._watch(child), name=f"watch {spec.name}")

    async def stop(self, name: str) -> None:
        """Stop a process: SIGTERM, and SIGKILL if it isn't gone in its time. Unknown names are already stopped."""
        child = self._children.pop(name, None)
        if child is None:
            return
        if child.watcher is not None:
            child.watcher.cancel()
        await _end(child)
        self.changed()

    def restart(self, name: str) -> None:
        """End a process, if it runs; whoever watches it starts it again."""
        child = self._children.get(name)
        if child is not None and child.process.returncode is None:
            child.process.terminate()

    def kill(self) -> None:
        """End every process at once, without draining."""
        for child in self._children.values():
            if child.process.returncode is None:
                os.killpg(child.process.pid, signal.SIGKILL)

    def changed(self) -> None:
        """Have `on_change` called: of what others started or ended, nobody else tells."""
        try:
            self.on_change()
        except OSError as error:  # a full disk must not end the watching
            self._on_event(f"can't note which processes run: {error.strerror}")

    async def _spawn(self, spec: ProcessSpec) -> _Child:
        try:
            with (self._logs / f"{spec.name}.log").open("ab") as log:
                start = log.tell()
                process = await asyncio.create_subprocess_exec(
                    *spec.argv,
                    env={**os.environ, **spec.env},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C in the terminal is the mesh's to handle: it drains in order
                )
        except OSError as error:
            raise ConfigurationError(f"can't start {spec.name}: {error}", name=spec.name) from error
        return _Child(spec, process, time.monotonic(), start)

    def _adopt(self, spec: ProcessSpec, running: Process) -> _Child:
        log = self._logs / f"{spec.name}.log"
        return _Child(spec, running, time.monotonic(), log.stat().st_size if log.exists() else 0)

    async def _watch(self, child: _Child) -> None:
        """Restart the process whenever it ends; the delay doubles until it has run steadily for a while."""
        delay = _BACKOFF_FIRST_SECONDS
        while True:
            code = await self._ended(child)
            if time.monotonic() - child.started > _STABLE_SECONDS:
                delay = _BACKOFF_FIRST_SECONDS
            if code == EXIT_CONFIGURATION:  # it could work before, so what is wrong now may be mended meanwhile
                delay = _BACKOFF_LAST_SECONDS
                self._on_event(f"{child.spec.name} can't work now; its log ends with:\n{self._tail(child)}")
            child.restarts += 1
            self._on_event(f"{child.spec.name} ended with {_ending(code)}; restart {child.restarts} in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(2 * delay, _BACKOFF_LAST_SECONDS)
            try:
                fresh = await self._spawn(child.spec)
            except ConfigurationError as error:  # no memory or file handles just now: the next turn tries again
                self._on_event(str(error))
                continue
            child.process, child.started, child.log_start = fresh.process, fresh.started, fresh.log_start
            self.changed()

    async def _ended(self, child: _Child) -> int:
        """Wait for the process to end, and keep its log from growing without bound meanwhile."""
        while True:
            try:
                async with asyncio.timeout(10.0):
                    return await child.process.wait()
            except TimeoutError:
                self._trim(self._logs / f"{child.spec.name}.log")

    def _trim(self, log: Path) -> None:
        # The child holds the file open for appending, so it is copied and emptied rather than renamed.
        with suppress(OSError):  # somebody removed it, or the disk is full: watching goes on
            if log.stat().st_size > _MAX_LOG_BYTES:
                log.with_suffix(".log.1").write_bytes(log.read_bytes())
                os.truncate(log, 0)

    def _tail(self, child: _Child) -> str:
        try:
            with (self._logs / f"{child.spec.name}.log").open("rb") as log:
                log.seek(child.log_start)
                lines = log.read().decode(errors="replace").splitlines()
        except OSError as error:
            return f"    ({error.strerror})"
        errors = [words for line in lines if (words := _logged_error(line))]
        return "\n".join(f"    {line}" for line in errors[-1:] or lines[-_TAIL_LINES:]) or "    (nothing)"


async def _end(child: _Child) -> None:
    if child.process.returncode is not None:
        return
    child.process.terminate()
    try:
        async with asyncio.timeout(child.spec.stop_seconds):
            await child.process.wait()
    except TimeoutError:
        os.killpg(child.process.pid, signal.SIGKILL)  # its own session, so its group is it and its children
        await child.process.wait()


def _logged_error(line: str) -> str | None:
    """The words of an error that one of our services logged; none for any other line."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if isinstance(entry, dict) and entry.get("level") == "error" and "error" in entry:
        return str(entry["error"])
    return None


def _ending(code: int) -> str:
    if code == UNSEEN:
        return "a code that only its first parent could see"
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
