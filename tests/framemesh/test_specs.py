from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from framemesh.errors import InvalidSpecError
from framemesh.specs import complete, parse, parse_policy, policy_text, precision_text
from framemesh.v1.model_pb2 import ModelSpec, Precision, Runtime


def test_a_hub_id_is_enough() -> None:
    spec = parse("google/vit-base-patch16-224")
    assert (spec.name, spec.source) == ("vit-base-patch16-224", "google/vit-base-patch16-224")
    assert (spec.runtime, spec.replicas, policy_text(spec.policy)) == (Runtime.RUNTIME_ONNX, 1, "latest")
    assert (spec.task, spec.precision, list(spec.candidate_labels)) == ("", Precision.PRECISION_FP32, [])


def test_everything_can_be_said() -> None:
    spec = parse("vit=google/ViT_B,runtime=torch,policy=fps=2.5,replicas=3,revision=main,camera=gate,camera=door")
    assert (spec.name, spec.source, spec.revision) == ("vit", "google/ViT_B", "main")
    assert (spec.runtime, spec.replicas, list(spec.cameras)) == (Runtime.RUNTIME_TORCH, 3, ["gate", "door"])
    assert policy_text(spec.policy) == "fps=2.5"


def test_what_the_model_does_can_be_said() -> None:
    spec = parse("owl=a/owl,task=zero-shot-object-detection,precision=int8,label=a cat,label=a red = sign")
    assert (spec.task, spec.precision) == ("zero-shot-object-detection", Precision.PRECISION_INT8)
    assert list(spec.candidate_labels) == ["a cat", "a red = sign"]


def test_a_model_is_a_shadow_where_that_is_said() -> None:
    assert [parse(text).shadow for text in ("a/b", "a/b,shadow=true", "a/b,shadow=false")] == [False, True, False]
    with pytest.raises(InvalidSpecError, match="shadow can't be 'yes': use true or false"):
        parse("a/b,shadow=yes")


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize(
    ("precision", "needed"), [("fp32", "onnx torch"), ("int8", "onnx"), ("fp16", "torch"), ("bf16", "torch")]
)
def test_a_precision_needs_a_runtime_that_has_it(runtime: str, precision: str, needed: str) -> None:
    text = f"a/b,runtime={runtime},precision={precision}"
    if runtime in needed.split():
        assert precision_text(parse(text).precision) == precision
    else:
        with pytest.raises(InvalidSpecError, match=f"'{precision}': it needs runtime={needed}, not {runtime}"):
            parse(text)


def test_the_default_policy_is_the_callers() -> None:
    assert policy_text(parse("a/b", default_policy=parse_policy("every")).policy) == "every"
    assert policy_text(parse("a/b,policy=latest", default_policy=parse_policy("every")).policy) == "latest"


def test_a_source_makes_a_proper_name() -> None:
    assert parse("PekingU/rtdetr_r18vd.v2").name == "rtdetr-r18vd-v2"
    assert parse("/models/My Model").name == "my-model"
    assert parse("demo:efficientnet-lite0").name == "efficientnet-lite0"
    assert parse("lake://models/Lite0/v1").name == "lite0"


def test_a_start_is_a_time_or_how_long_ago() -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert parse("a/b,start=2h", now=now).start.ToJsonString() == "2026-01-31T10:00:00Z"
    assert parse("a/b,start=2026-01-31T07:30+09:00").start.ToJsonString() == "2026-01-30T22:30:00Z"
    assert not parse("a/b").HasField("start")


def test_a_start_that_is_no_time_on_the_wire_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="start"):
        complete(ModelSpec(name="a", source="b", start=Timestamp(seconds=2**60)))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "model"),
        ("Bad_Name=a/b", "Bad_Name"),
        ("x=", "source"),
        ("a/b,runtime=tensorrt", "runtime"),
        ("a/b,precision=fp8", "precision"),
        ("a/b,task=a\nb", "task"),
        ("a/b,label=", "label"),
        ("a/b,label=" + "a" * 257, "label"),
        ("a/b" + ",label=x" * 257, "257 labels"),
        ("a/b,policy=sometimes", "policy"),
        ("a/b,policy=fps=0", "max_fps"),
        ("a/b,policy=fps=nan", "max_fps"),
        ("a/b,policy=fps=1e-310", "max_fps"),
        ("x=a/b\0c", "source"),
        ("x=" + "a" * 1025, "source"),
        ("a/b,policy=fps=x", "policy"),
        ("a/b,replicas=-1", "replicas"),
        ("a/b,replicas=65", "replicas"),
        ("a/b,color=red", "color"),
        ("a/b,every", "every"),
        ("a/b,camera=A", "camera"),
        ("a/b,start=yesterday", "start"),
        ("a/b,start=", "start"),
        ("a/b,start=0001-01-01T00:00+14:00", "start"),
    ],
)
def test_what_cannot_be_deployed_is_refused_by_name(text: str, names: str) -> None:
    with pytest.raises(InvalidSpecError, match=names):
        parse(text)


def test_a_camera_named_twice_counts_once() -> None:
    assert list(parse("a/b,camera=gate,camera=door,camera=gate").cameras) == ["gate", "door"]


def test_an_unknown_runtime_on_the_wire_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="runtime"):
        complete(ModelSpec(name="a", source="b", runtime=99))  # type: ignore[arg-type]


def test_an_unknown_precision_on_the_wire_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="precision"):
        complete(ModelSpec(name="a", source="b", precision=99))  # type: ignore[arg-type]
