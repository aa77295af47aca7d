"""The process that sends the load, or for the limit does the work itself: `python -m benchmarks.serving.load`.

Takes commands as lines of JSON on standard input and answers each with one line; ends with its input.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.serving.driving import Load, drive
from benchmarks.serving.messages import Protocol, best_classes, encode, labels_of


class Remote:
    """A server that listens."""

    def __init__(self, protocol: Protocol, port: int, path: str) -> None:
        self._protocol: Protocol = protocol
        self._port = port
        self._path = path

    def answers(self, photos: list[bytes]) -> list[list[int]]:
        """The best classes of each photo."""
        from benchmarks.serving.senders import connect  # noqa: PLC0415 - the limit must not hold gRPC in memory

        (send,), close = connect(self._protocol, self._port, 1)
        try:
            answers = [send(encode(self._protocol, self._path, photo)) for photo in photos]
        finally:
            close()
        return [best_classes(self._protocol, answer) for answer in answers]

    def measure(self, photos: list[bytes], load: Load) -> dict[str, Any]:
        """Put a load on it."""
        from benchmarks.serving.senders import Send, connect  # noqa: PLC0415 - as above

        requests = [encode(self._protocol, self._path, photo) for photo in photos]
        senders, close = connect(self._protocol, self._port, load.concurrency)

        def work(send: Send) -> Callable[[int], object]:
            return lambda number: send(requests[number % len(requests)])

        try:
            return asdict(drive([work(send) for send in senders], load))
        finally:
            close()


class Local:
    """The work itself, without any network."""

    def __init__(self) -> None:
        from benchmarks.serving.order import received  # noqa: PLC0415 - only the limit has the model
        from benchmarks.serving.pipeline import load  # noqa: PLC0415

        self._order = received()
        self._classify = load(self._order)

    def answers(self, photos: list[bytes]) -> list[list[int]]:
        """The best classes of each photo."""
        return [labels_of(self._classify(photo)) for photo in photos]

    def measure(self, photos: list[bytes], load: Load) -> dict[str, Any]:
        """Work as fast as the machine can, with no more threads than a server has workers."""
        threads = min(load.concurrency, self._order.workers)
        return asdict(drive([lambda number: self._classify(photos[number % len(photos)])] * threads, load))


def main() -> None:
    """Obey until standard input ends."""
    local: Local | None = None
    photos: dict[str, list[bytes]] = {}
    for line in sys.stdin:
        command = json.loads(line)
        folder = command["photos"]
        if folder not in photos:
            photos[folder] = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
        try:
            if command["protocol"] == "local":
                local = local or Local()
                target: Local | Remote = local
            else:
                target = Remote(command["protocol"], command["port"], command["path"])
            if command["load"] is None:
                answer: dict[str, Any] = {"answers": target.answers(photos[folder])}
            else:
                answer = target.measure(photos[folder], Load(**command["load"]))
        except Exception as error:  # noqa: BLE001 - the runner decides what it means
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
