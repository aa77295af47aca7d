"""BentoML: one server process a core, each with the model."""

import os
import sys
from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from benchmarks.serving.order import HOST, received
from benchmarks.serving.pipeline import Label, load


@bentoml.service(workers=received().workers, traffic={"timeout": 30})
class Classifier:
    """One image a request, as its body."""

    def __init__(self) -> None:
        self.classify = load(received())

    @bentoml.api(route="/")  # type: ignore[untyped-decorator]
    def run(self, image: Annotated[Path, ContentType("image/jpeg")], /) -> list[Label]:
        """The best classes, as JSON."""
        return self.classify(image.read_bytes())


def main() -> None:
    """Serve until killed."""
    order = received()
    command = [
        sys.executable, "-m", "bentoml", "serve", "benchmarks.serving.peers.bentoml:Classifier",
        "--host", HOST, "--port", str(order.ports[0]),
    ]  # fmt: skip
    os.environ["BENTOML_HOME"] = str(order.scratch)
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.execv(sys.executable, command)  # noqa: S606 - no shell: it is what the library's own command does


if __name__ == "__main__":
    main()
