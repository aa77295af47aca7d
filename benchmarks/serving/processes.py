"""Trees of processes: what they take, stopping them, pausing them while others are measured."""

import contextlib
import os
import re
import signal
from pathlib import Path

import psutil

_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError)
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)
_STOP_SECONDS = 10.0


class Tree:
    """A process that began a session, and all that came of it."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def processes(self) -> list[psutil.Process]:
        """Those that live: its descendants, and what is left of its session where a parent ended before its child."""
        found = self._session()
        with contextlib.suppress(*_GONE):
            found |= {self._root, *self._root.children(recursive=True)}
        return list(found)

    def _session(self) -> set[psutil.Process]:
        found = set()
        for pid in psutil.pids():
            with contextlib.suppress(*_GONE):
                if os.getsid(pid) == self._root.pid:
                    found.add(psutil.Process(pid))
        return found

    def cpu_seconds(self) -> dict[int, float]:
        """CPU time used so far, user's and system's, by process id."""
        used = {}
        for process in self.processes():
            with contextlib.suppress(*_GONE):
                times = process.cpu_times()
                used[process.pid] = times.user + times.system
        return used

    def memory_bytes(self) -> tuple[int, int]:
        """RSS and PSS. RSS counts what processes share once for each, PSS shares it out among them."""
        rss = pss = 0
        for process in self.processes():
            with contextlib.suppress(*_GONE, FileNotFoundError):
                rss += process.memory_info().rss
                found = _PSS.search(Path(f"/proc/{process.pid}/smaps_rollup").read_text())
                pss += int(found[1]) * 1024 if found else 0
        return rss, pss

    def pause(self) -> None:
        """Take it off the processors, so that its idling doesn't count against another."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it: politely first."""
        self.resume()
        processes = self.processes()
        with contextlib.suppress(*_GONE):
            self._root.terminate()
        psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        alive = self._living({*processes, *self._session()})
        for process in alive:
            with contextlib.suppress(*_GONE):
                process.kill()
        psutil.wait_procs(alive, timeout=_STOP_SECONDS)

    @staticmethod
    def _living(processes: set[psutil.Process]) -> list[psutil.Process]:
        return [process for process in processes if process.is_running()]

    def _signal(self, number: signal.Signals) -> None:
        for process in self.processes():
            with contextlib.suppress(*_GONE):
                process.send_signal(number)


def used_between(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU seconds used by those that live at the end."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
