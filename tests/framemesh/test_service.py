import asyncio
import os
import signal
import subprocess
import sys

import pytest

from framemesh.errors import EXIT_CONFIGURATION, FramemeshError, QueueFullError
from framemesh.service import running, stop_signals


class Part:
    """A component that works until it is stopped, or for ever, or fails."""

    def __init__(self, name: str, *, fails: Exception | None = None, deaf: bool = False) -> None:
        self.name = name
        self._fails = fails
        self._deaf = deaf
        self._stopping = asyncio.Event()
        self.ended = False

    async def run(self) -> None:
        if self._fails:
            raise self._fails
        await (asyncio.Event() if self._deaf else self._stopping).wait()
        self.ended = True

    def stop(self) -> None:
        self._stopping.set()


async def test_components_finish_when_the_block_ends() -> None:
    part = Part("a")
    async with running(part, drain_seconds=5):
        await asyncio.sleep(0)
    assert part.ended


async def test_a_component_that_fails_ends_the_block_with_its_own_error() -> None:
    neighbour = Part("b")
    with pytest.raises(QueueFullError, match="mine"):
        async with running(Part("a", fails=QueueFullError("mine")), neighbour, drain_seconds=5):
            await asyncio.Event().wait()


async def test_an_error_of_the_block_comes_out_as_itself() -> None:
    with pytest.raises(FramemeshError, match="the block's"):
        async with running(Part("a"), drain_seconds=5):
            raise FramemeshError("the block's")


async def test_the_late_are_cut() -> None:
    part = Part("deaf", deaf=True)
    async with asyncio.timeout(10):
        async with running(part, drain_seconds=0.05):
            pass
    assert not part.ended


async def test_a_signal_sets_the_event() -> None:
    with stop_signals() as stopping:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await stopping.wait()


def module(name: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FRAMEMESH_")}
    return subprocess.run(
        [sys.executable, "-m", name], env={**clean, **env}, capture_output=True, text=True, timeout=60, check=False
    )


def test_all_that_is_wrong_with_the_settings_is_said_at_once() -> None:
    ended = module("gateway", {"FRAMEMESH_STORE_WORKERS": "many", "FRAMEMESH_S3_SECRET_KEY": "hush"})
    assert ended.returncode == EXIT_CONFIGURATION
    for name in ("FRAMEMESH_NATS_URL", "FRAMEMESH_S3_ENDPOINT", "FRAMEMESH_STORE_WORKERS"):
        assert name in ended.stderr
    assert "hush" not in ended.stderr


def test_a_missing_server_is_a_fault_that_a_restart_may_mend() -> None:
    env = {
        "FRAMEMESH_NATS_URL": "nats://user:hush@127.0.0.1:1",
        "FRAMEMESH_S3_ENDPOINT": "http://127.0.0.1:1",
        "FRAMEMESH_S3_ACCESS_KEY": "key",
        "FRAMEMESH_S3_SECRET_KEY": "hush",
    }
    ended = module("gateway", env)
    assert ended.returncode == 1
    assert "127.0.0.1:1" in ended.stderr
    assert "hush" not in ended.stderr
