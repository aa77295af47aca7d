"""The RTSP server of the tests as a process that is killed, frozen and started again under the same address."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from framemesh.mesh.servers import free_port

USER, PASSWORD = "viewer", "p@ss/word"
CLOCK_AHEAD_SECONDS = 3600


@dataclass(slots=True)
class RtspServer:
    """Streams, each as `rtsp_server` reads it."""

    streams: tuple[str, ...]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def url(self, stream: str) -> str:
        return f"rtsp://127.0.0.1:{self.port}/{stream}"

    def start(self) -> None:
        """Returns once it listens."""
        self.process = subprocess.Popen(
            (
                sys.executable, "-m", "tests.ingest.rtsp_server", str(self.port), *self.streams,
                "--user", USER, "--password", PASSWORD, "--clock-ahead-seconds", str(CLOCK_AHEAD_SECONDS),
            ),
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the RTSP server ended"
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise TimeoutError("the RTSP server doesn't listen")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def rtsp_server(*streams: str) -> Iterator[RtspServer]:
    """A server around the block."""
    server = RtspServer(streams)
    server.start()
    try:
        yield server
    finally:
        server.kill()
