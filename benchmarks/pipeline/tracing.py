"""`python -m benchmarks.pipeline.tracing`: what traces cost the gateway in CPU, of which the hot path has most spans.

Five gateways take turns with the same frames: two with traces off, whose difference is the noise, one that traces a
hundredth of the frames, one that traces all, and, where `--without FOLDER` names a checkout of framemesh from before
there were traces, one of that. Spans go to a collector that takes them and does nothing.
"""

import argparse
import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import grpc

from benchmarks.frames import noise_jpeg
from benchmarks.pipeline.rig import Rig, rig
from benchmarks.pipeline.traffic import paced
from framemesh.client import AsyncClient
from framemesh.mesh.servers import HOST

_ROUNDS = 5
_FPS = 90
_FRAMES = 450
_WARM = 60
_OFF = "off"


class _Collector(grpc.GenericRpcHandler):
    """Takes whatever is exported."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":  # noqa: ARG002
        return grpc.unary_unary_rpc_method_handler(lambda _, __: b"")


@contextmanager
def _collecting() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((_Collector(),))
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    try:
        yield f"http://{HOST}:{port}"
    finally:
        server.stop(0)


def _variants(endpoint: str, without: Path | None) -> dict[str, Mapping[str, str]]:
    tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}
    old = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(without)}
    return {
        **({"absent": old} if without else {}),
        _OFF: {},
        "off again": {},
        "on, 1 % of frames": {**tracing, "OTEL_TRACES_SAMPLER_ARG": "0.01"},
        "on, all frames": {**tracing, "OTEL_TRACES_SAMPLER_ARG": "1"},
    }


async def _cpu_ms_a_frame(bench: Rig, variables: Mapping[str, str], camera: str, body: bytes) -> float:
    varied = replace(bench, env={**bench.env, **variables})
    await varied.start_gateway()
    try:
        await paced(bench.bus, f"{camera}-warm", body, fps=_FPS, frames=_WARM, models=["echo"])
        before = bench.cpu_seconds()["gateway"]
        await paced(bench.bus, camera, body, fps=_FPS, frames=_FRAMES, models=["echo"])
        return 1e3 * (bench.cpu_seconds()["gateway"] - before) / _FRAMES
    finally:
        await bench.supervisor.stop("gateway")


async def main(without: Path | None) -> None:
    """Measure and print."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        del os.environ[name]
    body = noise_jpeg(20_000)
    taken: dict[str, list[float]] = defaultdict(list)
    async with rig() as bench:
        port = await bench.start_gateway()
        async with AsyncClient(f"{HOST}:{port}") as client:
            await bench.start_models(client, "echo")
        await bench.supervisor.stop("gateway")
        with _collecting() as endpoint:
            variants = _variants(endpoint, without)
            for number in range(_ROUNDS):
                order = list(variants.items())
                for name, variables in order[number % len(order) :] + order[: number % len(order)]:
                    camera = f"run-{number}-{list(variants).index(name)}"
                    taken[name].append(await _cpu_ms_a_frame(bench, variables, camera, body))
    print(f"{_ROUNDS} rounds of {_FRAMES} frames of {len(body):,} bytes at {_FPS} a second; CPU of the gateway")
    base = next(iter(taken))
    for name, each in taken.items():
        ratios = sorted(one / other for one, other in zip(each, taken[base], strict=True))
        print(
            f"{name}: {median(each):.2f} ms a frame, {median(ratios):.3f} times that of {base!r} "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--without", type=Path, help="a checkout of framemesh that knows no traces")
    asyncio.run(main(parser.parse_args().without))
