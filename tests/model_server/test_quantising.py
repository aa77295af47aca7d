from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from model_server.quantising import DYNAMIC, STATIC, QuantisationRefusedError, Recipe, quantise, recipes, search
from tests.model_server.graphs import model, operators, run

random = np.random.default_rng(0)


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")]
    weights = {"w": random.normal(size=(32, 16)).astype(np.float32)}
    path = tmp_path / "model.onnx"
    onnx.save(model(nodes, weights, ["batch", 32]), path)
    return path


def agreement_with(fp32: Path) -> Callable[[Path], float]:
    x = random.normal(size=(200, 32)).astype(np.float32)
    wanted = run(fp32, x).argmax(axis=1)
    return lambda candidate: float(np.mean(run(candidate, x).argmax(axis=1) == wanted))


def test_recipes_fit_the_graph(linear: Path) -> None:
    assert recipes(linear) is DYNAMIC


def test_the_first_recipe_that_agrees_is_taken(linear: Path, tmp_path: Path) -> None:
    shares = iter([0.5, 0.995])
    made = search(linear, [], tmp_path / "int8.onnx", lambda _: next(shares), choices=[DYNAMIC[0], DYNAMIC[0]])
    assert made.agreement == 0.995
    assert agreement_with(linear)(tmp_path / "int8.onnx") > 0.9


def test_a_graph_without_a_good_recipe_is_refused_and_not_written(linear: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantisationRefusedError, match=r"dynamic: 50\.0%"):
        search(linear, [], tmp_path / "int8.onnx", lambda _: 0.5, choices=DYNAMIC[:1])
    assert not (tmp_path / "int8.onnx").exists()


def test_a_convolution_is_quantised_from_calibration(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], name="c0", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c0"], ["y"], name="relu"),
    ]
    path = tmp_path / "model.onnx"
    weights = {"w0": random.normal(size=(8, 4, 3, 3)).astype(np.float32)}
    onnx.save(model(nodes, weights, ["batch", 4, 8, 8]), path)
    assert recipes(path) is STATIC
    x = random.normal(size=(8, 4, 8, 8)).astype(np.float32)
    quantise(path, [x], tmp_path / "int8.onnx", Recipe("all", "static"))
    assert "QuantizeLinear" in operators(onnx.load(tmp_path / "int8.onnx"))
    assert run(tmp_path / "int8.onnx", x) == pytest.approx(run(path, x), abs=0.5)
