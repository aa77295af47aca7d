"""What a peer is told to serve: through the environment, as some peers start their workers as programs of their own."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Form = Literal["scaled", "full"]
"""How images become input: with our scaled decoding, or with transformers' own processor on the fully decoded image."""

FORMS: tuple[Form, ...] = get_args(Form)

MODEL = "lite0"
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Order:
    """Which model to serve, how, and where.

    Attributes:
        prepared: Our folder of the prepared model, with the graph that all run.
        source: The Hugging Face folder that it was made from, with the processor's settings.
        form: How images become input.
        workers: How many images at once.
        ports: Free ones: the first for requests, others for whatever else a server insists on.
        scratch: An empty folder, for what a server insists on writing.
    """

    prepared: Path
    source: Path
    form: Form
    workers: int
    ports: tuple[int, ...]
    scratch: Path

    def environment(self) -> Mapping[str, str]:
        """The order as variables for a process."""
        return {
            "BENCH_PREPARED": str(self.prepared),
            "BENCH_SOURCE": str(self.source),
            "BENCH_FORM": self.form,
            "BENCH_WORKERS": str(self.workers),
            "BENCH_PORTS": ",".join(map(str, self.ports)),
            "BENCH_SCRATCH": str(self.scratch),
        }


def received() -> Order:
    """The order that this process was given."""
    form = os.environ["BENCH_FORM"]
    return Order(
        prepared=Path(os.environ["BENCH_PREPARED"]),
        source=Path(os.environ["BENCH_SOURCE"]),
        form="scaled" if form == "scaled" else "full",
        workers=int(os.environ["BENCH_WORKERS"]),
        ports=tuple(int(port) for port in os.environ["BENCH_PORTS"].split(",")),
        scratch=Path(os.environ["BENCH_SCRATCH"]),
    )
