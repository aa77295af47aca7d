"""NVIDIA's own client, unmodified, in a process of its own: its messages have the names of ours, which protobuf holds
only once in a process.
"""

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class RefusedError(Exception):
    """The status that a call ended with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Request:
    """What to ask; the shape of its inputs may be told otherwise than it is."""

    inputs: dict[str, Array]
    outputs: Sequence[str] | None = None
    classes: int = 0
    model: str = "tiny"
    shape: Sequence[int] | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    arrays: dict[str, Array]
    message: dict[str, Any]


@contextmanager
def started() -> Iterator[ProcessPoolExecutor]:
    """A process for the client."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool


def infer(address: str, request: Request) -> Response:
    """Send the request and wait for its response."""
    response: Response = _with_client(address, lambda client: _response(client.infer(**_arguments(request))))
    return response


def check(address: str, method: str, *arguments: str) -> bool:
    """What a method of the client that asks for yes or no says."""
    return bool(_with_client(address, lambda client: getattr(client, method)(*arguments)))


def describe(address: str, method: str, *arguments: str) -> dict[str, Any]:
    """What a method of the client that asks for a description says."""
    return dict(_with_client(address, lambda client: getattr(client, method)(*arguments, as_json=True)))


def stream(address: str, requests: Sequence[Request]) -> list[Response | RefusedError]:
    """Send the requests through one stream and wait for all responses."""

    def exchange(client: Any) -> list[Response | RefusedError]:
        got: queue.Queue[tuple[Any, Any]] = queue.Queue()
        client.start_stream(lambda result, error: got.put((result, error)))
        for request in requests:
            client.async_stream_infer(**_arguments(request))
        results = [got.get(timeout=60) for _ in requests]
        client.stop_stream()
        return [_response(result) if error is None else _refused(error) for result, error in results]

    responses: list[Response | RefusedError] = _with_client(address, exchange)
    return responses


def differing_fields(files: Sequence[bytes]) -> list[str]:
    """Which fields, values and methods of our descriptors aren't in the client's own as well, alike."""
    from google.protobuf import descriptor_pb2, descriptor_pool
    from tritonclient.grpc import model_config_pb2, service_pb2

    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(descriptor_pb2.FileDescriptorProto.FromString(file))
    theirs = _words(service_pb2.DESCRIPTOR) | _words(model_config_pb2.DESCRIPTOR)
    names = [descriptor_pb2.FileDescriptorProto.FromString(file).name for file in files]
    return sorted(set().union(*(_words(pool.FindFileByName(name)) for name in names)) - theirs)


def _words(file: Any) -> set[str]:
    words = {f"{enum.full_name} {value.name} {value.number}" for enum in file.enum_types_by_name.values()
             for value in enum.values}  # fmt: skip
    for service in file.services_by_name.values():
        words |= {
            f"{method.full_name} {method.input_type.full_name} {method.client_streaming} "
            f"{method.output_type.full_name} {method.server_streaming}"
            for method in service.methods
        }
    waiting = list(file.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        waiting += message.nested_types
        for each in message.fields:
            kind = each.message_type or each.enum_type
            words.add(
                f"{each.full_name} {each.number} {each.type} {each.is_repeated} {kind.full_name if kind else ''} "
                f"{each.containing_oneof.name if each.containing_oneof else ''}"
            )
    return words


def _with_client(address: str, call: Callable[[Any], Any]) -> Any:
    from tritonclient.grpc import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    with InferenceServerClient(address) as client:
        try:
            return call(client)
        except InferenceServerException as error:
            raise _refused(error) from None


def _arguments(request: Request) -> dict[str, Any]:
    from tritonclient.grpc import InferInput, InferRequestedOutput
    from tritonclient.utils import np_to_triton_dtype

    inputs = []
    for name, array in request.inputs.items():
        tensor = InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        if request.shape is not None:
            tensor.set_shape(list(request.shape))
        inputs.append(tensor)
    outputs = request.outputs and [InferRequestedOutput(name, request.classes) for name in request.outputs]
    return {"model_name": request.model, "inputs": inputs, "outputs": outputs, **request.options}


def _response(result: Any) -> Response:
    message = result.get_response(as_json=True)
    return Response({output["name"]: result.as_numpy(output["name"]) for output in message["outputs"]}, message)


def _refused(error: Any) -> RefusedError:
    return RefusedError(str(error.status()), error.message())


def encoded(*images: bytes) -> dict[str, Array]:
    """The input of encoded images."""
    return {"image": np.array(images, object)}
