"""Targets that run: started, asked, paused, stopped."""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving.driving import Load, Measured
from benchmarks.serving.environments import UnavailableError, python_of
from benchmarks.serving.order import HOST, Form, Order
from benchmarks.serving.processes import Tree, used_between
from benchmarks.serving.targets import LIMIT, Target

_START_SECONDS = 60.0
_ASK_SECONDS = 60.0  # beyond what a load itself lasts
_PORTS = 3
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Site:
    """What all contestants share.

    Attributes:
        cache: Where environments, logs and scratch folders lie.
        source: The Hugging Face folder of the model.
        prepared: Ours.
        workers: How many images each may work on at once.
    """

    cache: Path
    source: Path
    prepared: Path
    workers: int


class Generator:
    """A process that sends loads, or is itself the limit."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.serving.load"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
                env=_inherited() | environment, start_new_session=True,
            )  # fmt: skip
        self.tree = Tree(self._process.pid)

    def ask(self, command: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Its answer to a command.

        Raises:
            UnavailableError: There is none, or it is an error.
        """
        assert self._process.stdin is not None  # noqa: S101 - tells mypy of the pipes
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise UnavailableError(f"no answer in {seconds:.0f} s")
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"error": "the load process ended"}')
        if "error" in answer:
            raise UnavailableError(answer["error"])
        return answer


class Contestant:
    """A target that runs in one form."""

    def __init__(self, target: Target, form: Form, tree: Tree, generator: Generator, port: int) -> None:
        self.target = target
        self.form: Form = form
        self.tree = tree
        self._generator = generator
        self._port = port

    @property
    def name(self) -> str:
        """With its form."""
        return f"{self.target.name} ({self.form})"

    def answers(self, photos: Path) -> list[list[int]]:
        """The best classes of each photo in a folder.

        Raises:
            UnavailableError: It doesn't answer.
        """
        found: list[list[int]] = self._ask(photos, None)["answers"]
        return found

    def measure(self, photos: Path, load: Load) -> tuple[Measured, float]:
        """What came of a load, and the CPU seconds that each request took of the server.

        Raises:
            UnavailableError: It didn't answer.
        """
        before = self.tree.cpu_seconds()
        found = Measured(**self._ask(photos, load))
        used = used_between(before, self.tree.cpu_seconds())
        if not found.total:
            raise UnavailableError(found.problem or "it answered nothing")
        return found, used / found.total

    def _ask(self, photos: Path, load: Load | None) -> dict[str, Any]:
        command = {
            "protocol": self.target.protocol,
            "port": self._port,
            "path": self.target.path,
            "photos": str(photos),
            "load": load and asdict(load),
        }
        seconds = 0.0 if load is None else load.seconds + load.warm_up_seconds
        return self._generator.ask(command, seconds + _ASK_SECONDS)


@contextmanager
def started(target: Target, form: Form, site: Site, generator: Generator, photos: Path) -> Iterator[Contestant]:
    """A contestant that answers, around the block.

    Raises:
        UnavailableError: It can't be installed or started, or doesn't answer.
    """
    slug = f"{target.name.lower().replace(' ', '-')}-{form}"
    scratch = site.cache / "scratch" / slug
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    log = site.cache / "logs" / f"{slug}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    order = Order(site.prepared, site.source, form, site.workers, free_ports(_PORTS), scratch)
    environment = target.environment(order, site.cache)
    with ExitStack() as stack:
        if target.name == LIMIT:
            own = Generator(environment, log)
            stack.callback(own.tree.stop)
            contestant = Contestant(target, form, own.tree, own, 0)
        else:
            python = python_of(site.cache, slug.removesuffix(f"-{form}"), target.requirements)
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [python, "-m", target.module], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    env=_inherited() | environment, cwd=scratch, start_new_session=True,
                )  # fmt: skip
            tree = Tree(process.pid)
            stack.callback(process.wait)
            stack.callback(tree.stop)
            contestant = Contestant(target, form, tree, generator, order.ports[0])
            _await_answer(contestant, process, photos, log)
        yield contestant


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody listens on at the moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return tuple(one.getsockname()[1] for one in sockets)


def _await_answer(contestant: Contestant, process: subprocess.Popen[bytes], photos: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            contestant.answers(photos)
        except UnavailableError as error:
            if process.poll() is not None:
                raise UnavailableError(f"it ended with {process.returncode}: {_last_words(log)}") from None
            if time.monotonic() > deadline:
                raise UnavailableError(f"no answer in {_START_SECONDS:.0f} s: {error}") from None
            time.sleep(0.25)
        else:
            return


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


def _inherited() -> dict[str, str]:
    """Our own environment, in which processes find this package wherever they start."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
