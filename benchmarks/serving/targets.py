"""Who is compared, and what each needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.serving.messages import Protocol
from benchmarks.serving.model import prepared_cache
from benchmarks.serving.order import FORMS, HOST, MODEL, Form, Order

OURS = "framemesh"
LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Target:
    """A server, or the limit.

    Attributes:
        name: As the table has it.
        module: What is run as `python -m`.
        protocol: How it is asked; `local` is the limit, which is no server.
        path: Where, for those that speak HTTP.
        requirements: Its packages, for an environment of its own.
        forms: In which forms it is measured.
        variables: What its documentation says to set.
        note: What was chosen for it, for readers of the report.
    """

    name: str
    module: str
    protocol: Protocol | Literal["local"]
    note: str
    path: str = "/"
    requirements: tuple[str, ...] = ()
    forms: tuple[Form, ...] = FORMS
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self, order: Order, cache: Path) -> dict[str, str]:
        """The variables that start it for an order."""
        if self.name != OURS:
            return {**order.environment(), **self.variables}
        return {
            "FRAMEMESH_MODEL_NAME": MODEL,
            "FRAMEMESH_MODEL_SOURCE": str(order.source),
            "FRAMEMESH_MODEL_CACHE": str(prepared_cache(cache)),
            "FRAMEMESH_GRPC_ADDRESS": f"{HOST}:{order.ports[0]}",
        }


_PEERS = "benchmarks.serving.peers"

TARGETS = (
    Target(
        LIMIT, "benchmarks.serving.load", "local",
        note="decoding and ONNX Runtime in one process, a thread for each core; no network",
    ),
    Target(
        OURS, "model_server", "framemesh", forms=("scaled",),
        note="`python -m model_server` as it comes",
    ),
    Target(
        "minimal", f"{_PEERS}.minimal", "framemesh",
        note="grpc.aio and a thread for each core, nothing else",
    ),
    Target(
        "LitServe", f"{_PEERS}.litserve", "form", "2 workers, its ZeroMQ queue (`fast_queue`)", path="/predict",
        requirements=("litserve==0.2.19", "python-multipart==0.0.34"),  # it reads forms
    ),
    Target(
        "BentoML", f"{_PEERS}.bentoml", "http", "2 workers", requirements=("bentoml==1.4.39",),
    ),
    Target(
        "MLServer", f"{_PEERS}.mlserver", "inference", "2 parallel workers, gRPC with raw contents",
        requirements=("mlserver==1.7.1", "uvloop==0.21.0"),  # its workers fail with 0.22
    ),
    Target(
        "mosec", f"{_PEERS}.mosec", "http", "2 workers, no batches", path="/inference",
        requirements=("mosec==0.9.8",),
    ),
    Target(
        "Ray Serve", f"{_PEERS}.rayserve", "http", "2 replicas, `RAY_SERVE_THROUGHPUT_OPTIMIZED`",
        requirements=("ray[serve]==2.60.0",),
        variables={"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_USAGE_STATS_ENABLED": "0"},
    ),
    Target(
        "Triton", f"{_PEERS}.pytriton", "inference", "through pytriton: 2 instances, no batches, gRPC",
        requirements=("nvidia-pytriton==0.7.0", "numpy==1.26.4"),  # it and numpy 2 don't go together
    ),
)  # fmt: skip


def chosen(names: list[str]) -> list[Target]:
    """Those of these names, or all; the limit always, as all is measured against it.

    Raises:
        ValueError: There is no such one.
    """
    known = {target.name.lower(): target for target in TARGETS}
    if unknown := [name for name in names if name.lower() not in known]:
        raise ValueError(f"there is no {', '.join(unknown)}; there are {', '.join(t.name for t in TARGETS)}")
    wanted = {name.lower() for name in names} or known.keys()
    return [target for target in TARGETS if target.name == LIMIT or target.name.lower() in wanted]
