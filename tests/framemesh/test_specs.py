import pytest

from framemesh.errors import InvalidSpecError
from framemesh.specs import complete, parse, parse_policy, policy_text
from framemesh.v1.model_pb2 import ModelSpec, Runtime


def test_a_hub_id_is_enough() -> None:
    spec = parse("google/vit-base-patch16-224")
    assert (spec.name, spec.source) == ("vit-base-patch16-224", "google/vit-base-patch16-224")
    assert (spec.runtime, spec.replicas, policy_text(spec.policy)) == (Runtime.RUNTIME_ONNX, 1, "latest")


def test_everything_can_be_said() -> None:
    spec = parse("vit=google/ViT_B,runtime=torch,policy=fps=2.5,replicas=3,revision=main,camera=gate,camera=door")
    assert (spec.name, spec.source, spec.revision) == ("vit", "google/ViT_B", "main")
    assert (spec.runtime, spec.replicas, list(spec.cameras)) == (Runtime.RUNTIME_TORCH, 3, ["gate", "door"])
    assert policy_text(spec.policy) == "fps=2.5"


def test_the_default_policy_is_the_callers() -> None:
    assert policy_text(parse("a/b", default_policy=parse_policy("every")).policy) == "every"
    assert policy_text(parse("a/b,policy=latest", default_policy=parse_policy("every")).policy) == "latest"


def test_a_source_makes_a_proper_name() -> None:
    assert parse("PekingU/rtdetr_r18vd.v2").name == "rtdetr-r18vd-v2"
    assert parse("/models/My Model").name == "my-model"
    assert parse("demo:efficientnet-lite0").name == "efficientnet-lite0"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "model"),
        ("Bad_Name=a/b", "Bad_Name"),
        ("x=", "source"),
        ("a/b,runtime=tensorrt", "runtime"),
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
