"""A model as the protocol and as Triton describe it. Pure."""

from collections.abc import Sequence

from framemesh.oip.grpc_service_pb2 import InferStatistics, ModelMetadataResponse, ModelStatistics, StatisticDuration
from framemesh.oip.model_config_pb2 import DataType, ModelConfig, ModelDynamicBatching, ModelInput, ModelOutput
from model_server.artifacts import RuntimeName
from model_server.oip.requests import ANSWER, IMAGE
from model_server.oip.tensors import BYTES, datatype
from model_server.signature import ANY, Signature
from model_server.totals import Totals

_PLATFORMS: dict[RuntimeName, tuple[str, str]] = {
    "onnx": ("onnxruntime_onnx", "onnxruntime"),
    "torch": ("pytorch_libtorch", "pytorch"),
}
"""Platform and backend, in Triton's words."""

_Described = tuple[str, str, Sequence[int]]
"""A tensor's name, datatype and shape."""


def metadata(name: str, version: str, runtime: RuntimeName, signature: Signature) -> ModelMetadataResponse:
    """The model's tensors."""
    tensor = ModelMetadataResponse.TensorMetadata
    return ModelMetadataResponse(
        name=name,
        versions=[version],
        platform=_PLATFORMS[runtime][0],
        inputs=[tensor(name=title, datatype=kind, shape=shape) for title, kind, shape in _inputs(signature)],
        outputs=[tensor(name=title, datatype=kind, shape=shape) for title, kind, shape in _outputs(signature)],
    )


def config(name: str, runtime: RuntimeName, signature: Signature, *, max_batch: int) -> ModelConfig:
    """The model as Triton would configure it.

    Args:
        name: The model's name.
        runtime: What runs it.
        signature: Its network's tensors.
        max_batch: The most images that may run together.
    """
    platform, backend = _PLATFORMS[runtime]
    return ModelConfig(
        name=name,
        platform=platform,
        backend=backend,
        max_batch_size=max_batch,
        input=[
            ModelInput(name=title, data_type=_config_type(kind), dims=shape[1:], optional=True)
            for title, kind, shape in _inputs(signature)
        ],
        output=[
            ModelOutput(name=title, data_type=_config_type(kind), dims=shape[1:])
            for title, kind, shape in _outputs(signature)
        ],
        dynamic_batching=ModelDynamicBatching(),
    )


def statistics(name: str, version: str, totals: Totals, *, last_inference_ms: int) -> ModelStatistics:
    """What the model has done.

    Args:
        name: The model's name.
        version: Its version.
        totals: What was counted.
        last_inference_ms: When it last answered, in milliseconds since 1970; 0 if never.
    """
    return ModelStatistics(
        name=name,
        version=version,
        last_inference=last_inference_ms,
        inference_count=totals.images,
        execution_count=totals.batches,
        inference_stats=InferStatistics(
            success=_duration(totals.succeeded, totals.request_seconds),
            fail=_duration(sum(totals.failed.values()), 0),
            queue=_duration(totals.images, totals.queue_seconds),
            compute_input=_duration(totals.images, totals.input_seconds),
            compute_infer=_duration(totals.images, totals.infer_seconds),
            compute_output=_duration(totals.images, totals.output_seconds),
        ),
    )


def _inputs(signature: Signature) -> list[_Described]:
    pixels = signature.input
    return [(IMAGE, BYTES, (ANY,)), (pixels.name, datatype(pixels.dtype), pixels.shape)]


def _outputs(signature: Signature) -> list[_Described]:
    own: list[_Described] = [(output.name, datatype(output.dtype), output.shape) for output in signature.outputs]
    return [*own, (ANSWER, BYTES, (ANY,))]


def _config_type(kind: str) -> DataType.ValueType:
    return DataType.Value("TYPE_STRING" if kind == BYTES else f"TYPE_{kind}")


def _duration(count: int, seconds: float) -> StatisticDuration:
    return StatisticDuration(count=count, ns=round(seconds * 1e9))
