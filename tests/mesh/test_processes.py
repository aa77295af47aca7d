import json
from pathlib import Path

from framemesh.mesh.processes import model_server
from framemesh.specs import parse
from framemesh.v1.model_pb2 import ModelSpec

ENV = {
    "FRAMEMESH_NATS_URL": "nats://n",
    "FRAMEMESH_S3_ENDPOINT": "http://s",
    "FRAMEMESH_S3_ACCESS_KEY": "key",
    "FRAMEMESH_S3_SECRET_KEY": "secret",
}


def environment(spec: ModelSpec) -> dict[str, str]:
    return dict(model_server(ENV, spec, 0, cache=Path("cache"), grpc_port=1, http_port=2).env)


def test_a_server_is_told_all_that_its_spec_says() -> None:
    env = environment(parse("owl=a/owl,task=zero-shot-object-detection,precision=int8,revision=v1,label=a cat,label=ö"))
    assert {name.removeprefix("FRAMEMESH_MODEL_"): value for name, value in env.items() if "_MODEL_" in name} == {
        "NAME": "owl",
        "SOURCE": "a/owl",
        "REVISION": "v1",
        "TASK": "zero-shot-object-detection",
        "RUNTIME": "onnx",
        "PRECISION": "int8",
        "LABELS": json.dumps(["a cat", "ö"]),
        "CACHE": "cache",
    }


def test_only_a_model_of_the_lake_is_told_where_the_lake_is() -> None:
    assert environment(parse("a/b"))["FRAMEMESH_NATS_URL"] == "nats://n"
    assert not any("S3" in name for name in environment(parse("a/b")))
    assert environment(parse("lake://models/vit/v1")).items() >= ENV.items()
