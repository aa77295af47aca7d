import asyncio
import json
import signal
import sys
from pathlib import Path

import grpc
import psutil
import pytest
from nats.aio.msg import Msg
from PIL import Image

from framemesh.bus import Bus, routes
from framemesh.bus.streams import ROUTES_BUCKET
from framemesh.bus.watching import snapshots
from framemesh.mesh.servers import free_port
from framemesh.rpc.channels import open_channel
from framemesh.v1.inference_service_pb2 import InferRequest
from framemesh.v1.inference_service_pb2_grpc import InferenceServiceStub
from framemesh.v1.model_pb2 import ReplicaState
from tests.gateway.conftest import until
from tests.model_server.servers import encoded, logged, process, until_serving

FREE_OF_TORCH = """
import asyncio, sys
from pathlib import Path
from tests.model_server.servers import encoded, serving, settings
from framemesh.v1.inference_service_pb2 import InferRequest
from PIL import Image

async def main():
    async with serving(settings(Path(sys.argv[1]), Path(sys.argv[2]))) as client:
        answer = await client.stub.Infer(InferRequest(image=encoded(Image.new("RGB", (64, 48)))))
        assert answer.answer.classification.labels
    heavy = {"torch", "transformers", "huggingface_hub", "onnx", "safetensors", "tokenizers", "obstore", "tqdm"}
    loaded = heavy & sys.modules.keys()
    assert not loaded, loaded

asyncio.run(main())
"""


async def test_serving_onnx_imports_neither_torch_nor_transformers(vit: Path, cache: Path) -> None:
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", FREE_OF_TORCH, str(vit), str(cache))
    assert await server.wait() == 0


async def test_sigterm_answers_what_is_under_way_and_leaves_no_entry(
    vit: Path, cache: Path, chelsea: Image.Image, bus: Bus, nats: str
) -> None:
    image = encoded(chelsea.resize((2000, 2000)), "WEBP", quality=30, method=0)
    port = free_port()
    async with (
        process(str(vit), cache, port, FRAMEMESH_NATS_URL=nats) as server,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        await until_serving(channel)
        said = await _listening(bus)
        await until(lambda: ReplicaState.REPLICA_STATE_SERVING in said)
        stub = InferenceServiceStub(channel)
        calls = [asyncio.ensure_future(stub.Infer(InferRequest(image=image), timeout=60)) for _ in range(8)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        server.send_signal(signal.SIGTERM)
        await until(lambda: ReplicaState.REPLICA_STATE_DRAINING in said)
        answers = await asyncio.gather(*calls)
        assert all(answer.answer.classification.labels for answer in answers)
        assert await server.wait() == 0
        async for content in snapshots(bus, ROUTES_BUCKET):
            assert "tiny.0" not in content
            break
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Infer(InferRequest(image=image), timeout=60)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_sigterm_while_preparing_ends_at_once_and_takes_its_process_along(vit: Path, tmp_path: Path) -> None:
    async with process(str(vit), tmp_path, free_port()) as server:
        await logged(server, "model.preparing")
        while not (children := psutil.Process(server.pid).children()):
            await asyncio.sleep(0.01)
        server.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await server.wait() == 0
        assert not any(child.is_running() for child in children)
    assert not list(tmp_path.rglob("manifest.json"))  # it has not waited until the model was prepared


async def test_a_model_that_cannot_be_served_ends_with_78_and_the_reason(tmp_path: Path) -> None:
    async with process(str(tmp_path / "nowhere"), tmp_path, free_port()) as server:
        line = await logged(server, "service.failed")
        assert "there is no model folder" in json.loads(line)["error"]
        assert await server.wait() == 78


async def _listening(bus: Bus) -> list[ReplicaState.ValueType]:
    """The states that the server says from now on. That it drains it says shortly before it takes all back."""
    said: list[ReplicaState.ValueType] = []

    async def take(message: Msg) -> None:
        if (replica := routes.load(message.data)) is not None:
            said.append(replica.state)

    await bus.client.subscribe(f"$KV.{ROUTES_BUCKET}.tiny.0", cb=take)
    await bus.client.flush()
    return said
