"""mosec: an HTTP server in Rust before worker processes, one a core; no batches, which do not pay here."""

import json
import sys
from typing import Any

import mosec

from benchmarks.serving.order import HOST, received
from benchmarks.serving.pipeline import Label, load


class Classifier(mosec.Worker):  # type: ignore[misc]
    """One image a request, as its body."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = load(received())

    def deserialize(self, data: bytes) -> bytes:
        """The body is the image."""
        return data

    def forward(self, data: bytes) -> list[Label]:
        """The best classes."""
        return self.classify(data)

    def serialize(self, data: Any) -> bytes:
        """As JSON."""
        return json.dumps(data).encode()


def main() -> None:
    """Serve until killed."""
    order = received()
    # mosec reads its settings from the command line alone.
    sys.argv[1:] = [
        "--address", HOST, "--port", str(order.ports[0]), "--path", str(order.scratch / "mosec"),
        "--log-level", "warning", "--timeout", "30000",
    ]  # fmt: skip
    server = mosec.Server()
    server.append_worker(Classifier, num=order.workers)
    server.run()


if __name__ == "__main__":
    main()
