import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from framemesh.bench import ClosedLoop, Load, Measured, OpenLoop, bench, percentile
from framemesh.errors import InvalidRequestError, ModelUnavailableError, QueueFullError
from framemesh.mesh.servers import free_port
from framemesh.rpc.server import serving
from framemesh.v1 import inference_service_pb2 as pb2
from framemesh.v1 import inference_service_pb2_grpc as pb2_grpc
from framemesh.v1.answer_pb2 import AnswerOptions
from tests.pictures import jpeg


class SlowModel(pb2_grpc.InferenceServiceServicer):
    """Answers one call after the other, each in its time; fails where the test says so."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.requests: list[pb2.InferRequest] = []
        self.fails: Any = lambda _: None
        self._busy = asyncio.Lock()

    async def Infer(self, request: pb2.InferRequest, context: Any) -> pb2.InferResponse:  # noqa: N802
        self.requests.append(request)
        if error := self.fails(len(self.requests)):
            raise error
        async with self._busy:
            await asyncio.sleep(self.seconds)
        return pb2.InferResponse(model_version="1")

    async def GetModelMetadata(  # noqa: N802
        self, request: pb2.GetModelMetadataRequest, context: Any
    ) -> pb2.GetModelMetadataResponse:
        return pb2.GetModelMetadataResponse(
            model="slow", task="image-classification", runtime="onnx", precision="int8", preprocessing="fast"
        )


@asynccontextmanager
async def listening(model: SlowModel) -> AsyncIterator[str]:
    add = {
        "framemesh.v1.InferenceService": lambda server: pb2_grpc.add_InferenceServiceServicer_to_server(model, server)
    }
    async with serving("127.0.0.1:0", add, drain_seconds=0) as server:
        yield f"127.0.0.1:{server.port}"


async def measured(model: SlowModel, *loads: Load, images: tuple[bytes, ...] = (b"image",)) -> list[Measured]:
    results: list[Measured] = []
    async with listening(model) as address:
        served = await bench(address, images, loads, options=AnswerOptions(), on_result=results.append)
    assert served.model == "slow"
    return results


def test_a_percentile_is_one_of_the_values() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, percent) for percent in (1, 50, 60, 61, 99, 100)] == [1.0, 3.0, 3.0, 4.0, 5.0, 5.0]
    assert percentile([], 50) is None
    assert percentile([7.0], 99) == 7.0


async def test_a_closed_loop_waits_for_its_answers() -> None:
    model = SlowModel(0.05)
    alone, eight = await measured(model, ClosedLoop(1, 1.0), ClosedLoop(8, 1.0))
    for result in (alone, eight):
        assert 8 < result.throughput <= 20  # the server can do no more, however many ask
        assert not result.errors
    assert percentile(alone.latencies, 50) == pytest.approx(0.055, abs=0.02)
    assert percentile(eight.latencies, 50) == pytest.approx(0.42, abs=0.1)


async def test_an_open_loop_counts_from_when_each_call_was_due() -> None:
    (result,) = await measured(SlowModel(0.1), OpenLoop(20, 1.0))
    assert len(result.latencies) == 20
    # Each call adds 100 ms of work every 50 ms: the last waits for all before it.
    assert max(result.latencies) > 0.9
    assert result.seconds == pytest.approx(2.0, abs=0.4)


async def test_a_generator_that_is_held_up_does_not_hide_it() -> None:
    model = SlowModel(0.0)
    model.fails = lambda count: time_passes(0.3) if count == 3 else None  # this blocks the generator's own loop too
    (result,) = await measured(model, OpenLoop(50, 0.5))
    assert sum(latency > 0.1 for latency in result.latencies) >= 5


def time_passes(seconds: float) -> None:
    import time

    time.sleep(seconds)


async def test_errors_are_counted_by_their_code_and_are_no_answers() -> None:
    model = SlowModel(0.0)
    model.fails = lambda count: QueueFullError("full") if count % 2 == 0 else None
    (result,) = await measured(model, OpenLoop(40, 0.5))
    assert result.errors == {"RESOURCE_EXHAUSTED": 10}
    assert len(result.latencies) == 10
    assert result.as_json()["errors"] == {"RESOURCE_EXHAUSTED": 10}


async def test_without_an_answer_there_are_no_percentiles() -> None:
    model = SlowModel(0.0)
    model.fails = lambda count: QueueFullError("full") if count > 1 else None
    (result,) = await measured(model, OpenLoop(20, 0.2))
    assert result.as_json()["latency_seconds"] == {"p50": None, "p90": None, "p99": None}
    assert result.throughput == 0


async def test_images_are_sent_in_turn() -> None:
    model = SlowModel(0.0)
    await measured(model, OpenLoop(40, 0.2), images=(b"a", b"b"))
    assert [request.image for request in model.requests] == [b"a", b"b", *([b"a", b"b"] * 4)]


async def test_a_server_that_refuses_the_image_says_so_before_any_load() -> None:
    model = SlowModel(0.0)
    model.fails = lambda _: InvalidRequestError("labels are missing")
    with pytest.raises(InvalidRequestError, match="labels are missing"):
        await measured(model, ClosedLoop(1, 5.0))
    with pytest.raises(ModelUnavailableError):
        await bench(f"127.0.0.1:{free_port()}", [b""], [], options=AnswerOptions(), on_result=print)


async def command(*words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "framemesh", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_command_measures_a_server_that_runs(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(jpeg(1))
    model = SlowModel(0.001)
    short = ("--seconds", "0.3", "--image", str(tmp_path / "one.jpg"), "--label", "a cat", "--concurrency", "1,2")
    async with listening(model) as address:
        code, out, err = await command("bench", "--address", address, *short, "--rate", "20")
        assert (code, err) == (0, "")
        lines = [line.rstrip() for line in out.splitlines()]
        assert lines[0] == "slow: image-classification on onnx int8, fast preprocessing"
        assert lines[1].split() == ["load", "answers/s", "p50", "ms", "p90", "ms", "p99", "ms", "errors"]
        assert [re.split(r"\s{2,}", line)[0] for line in lines[2:]] == ["1 at once", "2 at once", "20 a second"]
        code, out, _ = await command("bench", "--address", address, *short, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["server"]["precision"] == "int8"
    assert [load["load"] for load in found["loads"]] == ["1 at once", "2 at once"]
    assert all(load["latency_seconds"]["p50"] > 0.001 and not load["errors"] for load in found["loads"])
    assert {request.image for request in model.requests} == {jpeg(1)}
    assert list(model.requests[-1].options.candidate_labels) == ["a cat"]


@pytest.mark.parametrize(
    ("words", "code", "names"),
    [
        ((), 2, "name either a model"),
        (("a/b", "--address", "127.0.0.1:1"), 2, "name either a model"),
        (("--address", "127.0.0.1:1", "--concurrency", "0"), 2, "--concurrency can't be '0'"),
        (("--address", "127.0.0.1:1", "--image", "/no/such.jpg"), 1, "can't read '/no/such.jpg'"),
        (("--address", "127.0.0.1:1"), 1, "framemesh: "),
        (("a/b,runtime=tensorrt",), 1, "runtime can't be 'tensorrt'"),
        (("./no/such/folder",), 78, "there is no folder './no/such/folder'"),
    ],
)
async def test_what_cannot_be_measured_says_why(words: tuple[str, ...], code: int, names: str) -> None:
    returned, _, err = await command("bench", *words)
    assert returned == code
    assert names in re.sub(r"[\s│]+", " ", err)
