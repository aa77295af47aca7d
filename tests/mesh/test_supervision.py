import asyncio
import errno
import os
import signal
import sys
from pathlib import Path

import pytest

from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError
from framemesh.mesh.supervision import ProcessSpec, Supervisor


async def always() -> bool:
    return True


async def never() -> bool:
    return False


def python(name: str, code: str, **options: float) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", code), {}, always, **options)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until_changed(supervisor: Supervisor, name: str, old: int) -> int:
    async with asyncio.timeout(60):
        while supervisor.pids().get(name) in (old, None):
            await asyncio.sleep(0.02)
    return supervisor.pids()[name]


async def test_a_killed_process_is_restarted_and_told_of(tmp_path: Path) -> None:
    events: list[str] = []
    async with Supervisor(tmp_path, on_event=events.append) as supervisor:
        await supervisor.start(python("sleeper", "import time; time.sleep(60)"))
        first = supervisor.pids()["sleeper"]
        os.kill(first, signal.SIGKILL)
        second = await until_changed(supervisor, "sleeper", first)
        assert alive(second)
    assert not alive(second)
    assert events == ["sleeper ended with signal SIGKILL; restart 1 in 0.5 s"]


async def test_the_delay_grows_while_a_process_keeps_crashing(tmp_path: Path) -> None:
    events: list[str] = []
    async with Supervisor(tmp_path, on_event=events.append) as supervisor:
        await supervisor.start(python("crasher", "import sys; sys.exit(3)"))
        async with asyncio.timeout(60):
            while len(events) < 3:
                await asyncio.sleep(0.02)
    assert [event.split()[-2] for event in events[:3]] == ["0.5", "1", "2"]
    assert "exit code 3" in events[0]


async def test_a_failed_start_tells_the_end_of_the_log(tmp_path: Path) -> None:
    async with Supervisor(tmp_path, on_event=print) as supervisor:
        code = "import sys; print('line one'); print('the reason', file=sys.stderr); sys.exit(1)"
        spec = ProcessSpec("broken", (sys.executable, "-c", code), {}, never)
        with pytest.raises(ConfigurationError, match=r"(?s)broken ended with exit code 1.*the reason"):
            await supervisor.start(spec)
        assert supervisor.pids() == {}


async def test_a_process_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    async with Supervisor(tmp_path, on_event=print) as supervisor:
        code = "import time; time.sleep(60)"
        spec = ProcessSpec("slow", (sys.executable, "-c", code), {}, never, start_seconds=0.3)
        with pytest.raises(ConfigurationError, match=r"wasn't ready in 0.3 s"):
            await supervisor.start(spec)


async def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    async with Supervisor(tmp_path, on_event=print) as supervisor:
        with pytest.raises(ConfigurationError, match="can't start ghost"):
            await supervisor.start(ProcessSpec("ghost", ("/no/such/program",), {}, always))


async def test_a_removed_log_and_a_full_disk_do_not_end_the_watching(tmp_path: Path) -> None:
    events: list[str] = []

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with Supervisor(tmp_path, on_event=events.append) as supervisor:
        supervisor.on_change = full
        await supervisor.start(python("sleeper", "import time; time.sleep(60)"))
        (tmp_path / "sleeper.log").unlink()
        for _ in range(2):
            first = supervisor.pids()["sleeper"]
            os.kill(first, signal.SIGKILL)
            await until_changed(supervisor, "sleeper", first)
    assert any("No space left" in event for event in events)


async def test_two_processes_cannot_share_a_name(tmp_path: Path) -> None:
    async with Supervisor(tmp_path, on_event=print) as supervisor:
        await supervisor.start(python("twin", "import time; time.sleep(60)"))
        with pytest.raises(ValueError, match="twin"):
            await supervisor.start(python("twin", "import time; time.sleep(60)"))


async def test_a_process_that_is_misconfigured_says_why_and_is_tried_again_late(tmp_path: Path) -> None:
    events: list[str] = []
    async with Supervisor(tmp_path, on_event=events.append) as supervisor:
        await supervisor.start(python("wrong", f"import sys; print('set X'); sys.exit({EXIT_CONFIGURATION})"))
        async with asyncio.timeout(60):
            while len(events) < 2:
                await asyncio.sleep(0.02)
    assert "set X" in events[0]
    assert events[1].endswith("restart 1 in 30 s")


async def test_one_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    async with Supervisor(tmp_path, on_event=print) as supervisor:
        await supervisor.start(python("stubborn", code, stop_seconds=0.5))
        log = tmp_path / "stubborn.log"
        async with asyncio.timeout(60):
            while not log.read_text().strip():
                await asyncio.sleep(0.02)
        child = int(log.read_text())
        async with asyncio.timeout(60):  # by itself it would end in ten minutes
            await supervisor.stop("stubborn")
    async with asyncio.timeout(60):
        while alive(child):
            await asyncio.sleep(0.02)
