"""Triton Inference Server, with the model in Python beside it: one instance a core, no batches."""

import json
import os
import sysconfig
from typing import Any

import numpy as np
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.serving.order import HOST, MODEL, received
from benchmarks.serving.pipeline import load


def main() -> None:
    """Serve until killed."""
    order = received()
    classify = load(order)

    def infer(requests: list[Any]) -> list[dict[str, Any]]:
        answers = [json.dumps(classify(request["image"].item())) for request in requests]
        return [{"answer": np.array([answer.encode()])} for answer in answers]

    # Triton's own interpreter takes the first library of this Python version that it finds; it must be this one's.
    found = filter(None, [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")])
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(found)
    grpc_port, http_port, metrics_port = order.ports[:3]
    config = TritonConfig(
        grpc_address=HOST, grpc_port=grpc_port, http_address=HOST, http_port=http_port, metrics_port=metrics_port,
        allow_gpu_metrics=False,
    )  # fmt: skip
    with Triton(config=config, workspace=order.scratch / "triton") as triton:
        triton.bind(
            model_name=MODEL,
            infer_func=[infer] * order.workers,
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="answer", dtype=bytes, shape=(1,))],
            config=ModelConfig(batching=False),
        )
        triton.serve()


if __name__ == "__main__":
    main()
