"""Ray Serve: a proxy before replicas, which are processes, one a core."""

import signal

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.serving.order import HOST, received
from benchmarks.serving.pipeline import Label, load


class Classifier:
    """One image a request, as its body."""

    def __init__(self) -> None:
        self.classify = load(received())

    async def __call__(self, request: Request) -> list[Label]:
        """The best classes, as JSON."""
        return self.classify(await request.body())


def main() -> None:
    """Serve until killed."""
    order = received()
    ray.init(num_cpus=order.workers, include_dashboard=False, _node_ip_address=HOST, log_to_driver=False)
    serve.start(http_options={"host": HOST, "port": order.ports[0]})
    # From the module's own name, so that replicas import it rather than get a copy of this script.
    from benchmarks.serving.peers.rayserve import Classifier as Imported  # noqa: PLC0415

    replicas = serve.deployment(
        Imported, num_replicas=order.workers, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=2
    )
    serve.run(replicas.bind(), name="bench", route_prefix="/")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()


if __name__ == "__main__":
    main()
