"""MLServer: gRPC and HTTP in one process, which hands requests to worker processes, one a core."""

import asyncio
import json

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from benchmarks.serving.order import HOST, MODEL, received
from benchmarks.serving.pipeline import Classify, load


class Classifier(MLModel):  # type: ignore[misc]
    """One image a request, as its only input."""

    _classify: Classify

    async def load(self) -> bool:
        """Load the model in the worker."""
        self._classify = load(received())
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The best classes, as JSON."""
        answer = json.dumps(self._classify(payload.inputs[0].data[0]))
        output = ResponseOutput(name="answer", shape=[1], datatype="BYTES", data=[answer.encode()])
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main() -> None:
    """Serve until killed."""
    order = received()
    grpc_port, http_port, metrics_port = order.ports[:3]
    settings = Settings(
        host=HOST, grpc_port=grpc_port, http_port=http_port, metrics_port=metrics_port, debug=False,
        parallel_workers=order.workers, metrics_dir=str(order.scratch), environments_dir=str(order.scratch),
        model_repository_root=str(order.scratch), grpc_max_message_length=2**25,
    )  # fmt: skip
    # By its path, so that the workers find it whatever this module is called.
    model = ModelSettings(name=MODEL, implementation="benchmarks.serving.peers.mlserver.Classifier")
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main())
