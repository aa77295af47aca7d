import numpy as np
import pytest
from numpy.typing import ArrayLike
from onnx import ModelProto, helper

from model_server.simplifying import simplify
from tests.model_server.graphs import model, operators, run

random = np.random.default_rng(0)


def gated(weight: float, bias: float) -> ModelProto:
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
        helper.make_node("Conv", ["mean", "w", "b"], ["gate"], kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["gate"], ["s"]),
        helper.make_node("Mul", ["x", "s"], ["product"]),
        helper.make_node("Relu", ["product"], ["y"]),
    ]
    constants = {
        "axes": np.array([2, 3]),
        "w": np.full((4, 4, 1, 1), weight, np.float32),
        "b": np.full(4, bias, np.float32),
    }
    return model(nodes, constants, ["batch", 4, 8, 8])


def pooled(window: int, ceil_mode: int) -> ModelProto:
    pool = helper.make_node(
        "AveragePool", ["x"], ["y"], kernel_shape=[window] * 2, strides=[window] * 2, ceil_mode=ceil_mode
    )
    return model([pool], {}, ["batch", 4, 7, 7])


def attention(*, everywhere: bool) -> ModelProto:
    nodes = [
        helper.make_node("Shape", ["x"], ["n"], start=0, end=1),
        helper.make_node("Concat", ["n", "rest"], ["shape"], axis=0),
        helper.make_node("Expand", ["all", "shape"], ["condition"]),
        helper.make_node("Where", ["condition", "zero", "lowest"], ["mask"]),
        helper.make_node("Transpose", ["x"], ["keys"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["x", "keys"], ["scores"]),
        helper.make_node("Add", ["scores", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["probabilities"], axis=-1),
        helper.make_node("MatMul", ["probabilities", "x"], ["y"]),
    ]
    constants: dict[str, ArrayLike] = {
        "rest": np.array([1, 5, 5]),
        "all": np.full((1, 1, 5, 1), everywhere),
        "zero": np.float32(0).reshape(()),
        "lowest": np.array(np.finfo(np.float32).min),
    }
    return model(nodes, constants, [3, 2, 5, 8])


def test_a_gate_of_one_goes() -> None:
    proto = gated(weight=0, bias=30)
    assert operators(simplify(proto)) == ["Relu"]


def test_a_gate_of_less_becomes_a_constant_factor() -> None:
    proto = gated(weight=0, bias=1)
    simple = simplify(proto)
    assert operators(simple) == ["Mul", "Relu"]
    x = random.normal(size=(2, 4, 8, 8)).astype(np.float32)
    assert run(simple, x) == pytest.approx(run(proto, x), abs=1e-6)


def test_a_gate_that_looks_at_the_image_stays() -> None:
    proto = gated(weight=0.1, bias=30)
    assert operators(simplify(proto)) == operators(proto)


@pytest.mark.parametrize(("window", "ceil_mode", "name"), [
    (7, 0, "GlobalAveragePool"),
    (1280, 1, "GlobalAveragePool"),
    (3, 0, "AveragePool"),
])  # fmt: skip
def test_only_a_pool_over_everything_is_global(window: int, ceil_mode: int, name: str) -> None:
    proto = pooled(window, ceil_mode)
    simple = simplify(proto)
    assert operators(simple) == [name]
    x = random.normal(size=(2, 4, 7, 7)).astype(np.float32)
    assert run(simple, x) == pytest.approx(run(proto, x), abs=1e-6)


def test_a_mask_that_hides_nothing_goes() -> None:
    proto = attention(everywhere=True)
    simple = simplify(proto)
    assert operators(simple) == ["Transpose", "MatMul", "Softmax", "MatMul"]
    x = random.normal(size=(3, 2, 5, 8)).astype(np.float32)
    assert run(simple, x) == pytest.approx(run(proto, x), abs=1e-6)


def test_a_mask_that_hides_something_stays() -> None:
    proto = attention(everywhere=False)
    assert operators(simplify(proto)) == operators(proto)
