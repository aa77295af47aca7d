"""LitServe: HTTP servers hand uploads to worker processes, one worker a core."""

from typing import Any

import litserve
from fastapi import Request

from benchmarks.serving.order import HOST, received
from benchmarks.serving.pipeline import Label, load


class Api(litserve.LitAPI):  # type: ignore[misc]
    """One image a request, as a form's file."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's
        """Load the model in the worker."""
        self.classify = load(received())

    def decode_request(self, request: Request) -> bytes:
        """The file's bytes. LitServe asks for this annotation, and hands over the request's form."""
        form: Any = request
        body: bytes = form["image"].file.read()
        return body

    def predict(self, x: bytes) -> list[Label]:
        """The best classes."""
        return self.classify(x)

    def encode_response(self, output: list[Label]) -> list[Label]:
        """They are JSON already."""
        return output


def main() -> None:
    """Serve until killed."""
    order = received()
    server = litserve.LitServer(Api(), accelerator="cpu", devices=1, workers_per_device=order.workers, fast_queue=True)
    server.run(host=HOST, port=order.ports[0], log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
