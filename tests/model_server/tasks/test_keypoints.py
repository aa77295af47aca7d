from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from transformers import AutoModelForKeypointDetection, AutoModelForPoseEstimation

from framemesh.errors import ConfigurationError, InvalidRequestError
from framemesh.v1.answer_pb2 import Answer, AnswerOptions, Box, KeypointInstance
from model_server.exact import load_processor
from model_server.geometry import Size, View
from model_server.inference import Inferred, Job, Model
from model_server.networks import open_network
from model_server.tasks import Asked, KeypointDetection
from model_server.tasks import keypoints as decoding
from model_server.tasks.keypoints import JointMaps, ScoreMap
from model_server.trust import Trust
from tests.model_server.conftest import ParityRow
from tests.model_server.servers import encoded

FRAME = Size(640, 480)
VIEW = View(FRAME, Size(48, 64), Size(48, 64))
BOXES = (
    Box(x_min_px=30.5, y_min_px=40, x_max_px=200, y_max_px=290),
    Box(x_min_px=180, y_min_px=10, x_max_px=440, y_max_px=120.25),
    Box(x_min_px=-20, y_min_px=0, x_max_px=60, y_max_px=400),
)


def blobs(*peaks: tuple[float, float], height: float = 0.9) -> np.ndarray:
    """Heatmaps of one person, 12 wide and 16 high, each with a bump at x, y."""
    y, x = np.mgrid[:16, :12]
    maps = [height * np.exp(-((x - left) ** 2 + (y - top) ** 2) / 4) for left, top in peaks]
    return np.array([maps], np.float32)


def points(instance: KeypointInstance) -> np.ndarray:
    """Kind, x, y and score of each point."""
    return np.array([(point.label.index, point.x_px, point.y_px, point.label.score) for point in instance.points])


def asked(model: Model, image: Image.Image, **options: Any) -> Answer:
    (inferred,) = model.infer([Job(encoded(image), AnswerOptions(**options))])
    assert isinstance(inferred, Inferred), inferred
    assert inferred.answer is not None
    return inferred.answer


def test_a_joint_is_found_between_the_pixels_of_its_map() -> None:
    task = KeypointDetection(("nose", "knee"), JointMaps())
    maps = blobs((4.3, 7.6), (8.0, 3.0))
    (instance,) = task.answer({"heatmaps": maps}, Asked(VIEW, AnswerOptions())).keypoints.instances
    assert [point.label.name for point in instance.points] == ["nose", "knee"]
    assert instance.box == Box(x_max_px=640, y_max_px=480)
    # The input shows 1.25 times the frame's width, and as much more height as its proportions need.
    across, down = 1.25 * 640, 1.25 * 640 * 64 / 48
    wanted = [
        ((4.3 / 11 - 0.5) * across + 320, (7.6 / 15 - 0.5) * down + 240),
        ((8.0 / 11 - 0.5) * across + 320, (3.0 / 15 - 0.5) * down + 240),
    ]
    np.testing.assert_allclose(points(instance)[:, 1:3], wanted, atol=1)


def test_joints_that_are_nowhere_and_those_under_the_score_asked_for_are_left_out() -> None:
    task = KeypointDetection(("nose", "knee", "ear"), JointMaps())
    maps = np.concatenate([blobs((4, 7)), blobs((8, 3), height=0.3), blobs((8, 3), height=-1)], axis=1)
    maps[maps == 0] = -1
    for options, names in ((AnswerOptions(), ["nose", "knee"]), (AnswerOptions(min_score=0.5), ["nose"])):
        (instance,) = task.answer({"heatmaps": maps}, Asked(VIEW, options)).keypoints.instances
        assert [point.label.name for point in instance.points] == names


def test_maps_are_smoothed_as_scipy_does() -> None:
    maps = np.random.default_rng(3).normal(size=(2, 3, 16, 12)).astype(np.float32)
    wanted = [[gaussian_filter(one, sigma=0.8, radius=(5, 5), axes=(0, 1)) for one in person] for person in maps]
    np.testing.assert_allclose(decoding._smoothed(maps), wanted, atol=1e-6)


def test_boxes_end_at_the_frame_and_must_hold_some_of_it() -> None:
    (box,) = decoding.persons([Box(x_min_px=-5, y_min_px=10, x_max_px=9000, y_max_px=20)], FRAME)
    assert box == Box(x_min_px=0, y_min_px=10, x_max_px=640, y_max_px=20)
    for wrong in (
        Box(x_min_px=700, y_max_px=10, x_max_px=800),
        Box(x_min_px=10, x_max_px=10, y_max_px=10),
        Box(x_max_px=float("nan"), y_max_px=10),
    ):
        with pytest.raises(InvalidRequestError, match="holds nothing of the image of 640 x 480"):
            decoding.persons([wrong], FRAME)


def test_of_many_interest_points_the_best_are_kept() -> None:
    scores = np.zeros((1, 24, 32), np.float32)
    scores[0, [5, 10, 15, 2], [6, 20, 30, 9]] = 0.3, 0.9, 0.6, 0.8
    task = KeypointDetection(("interest point",), ScoreMap(min_score=0.1, border=4, max_count=2))
    answer = task.answer({"scores": scores}, Asked(VIEW, AnswerOptions()))
    (instance,) = answer.keypoints.instances
    np.testing.assert_allclose(points(instance), [(0, 400, 200, 0.9), (0, 600, 300, 0.6)], rtol=1e-6)
    assert {point.label.name for point in instance.points} == {"interest point"}


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_interest_points_are_those_of_transformers_own_processor(
    runtime: str,
    prepared: Callable[..., Path],
    source: Callable[[str], Path],
    chelsea: Image.Image,
    parity_table: list[ParityRow],
) -> None:
    model = Model.load(prepared("superpoint", runtime=runtime), preprocessing="exact")
    assert not model.manifest.fallback_reason
    oracle = AutoModelForKeypointDetection.from_pretrained(source("superpoint"))
    processor = load_processor(source("superpoint"))
    with torch.inference_mode():
        outputs = oracle(**processor(images=chelsea, return_tensors="pt"))
    (theirs,) = processor.post_process_keypoint_detection(outputs, [(chelsea.height, chelsea.width)])
    (instance,) = asked(model, chelsea).keypoints.instances
    found = points(instance)
    assert len(found) > 20
    np.testing.assert_array_equal(found[:, 1:3], theirs["keypoints"])
    difference = float(np.abs(found[:, 3] - theirs["scores"].numpy()).max())
    assert difference < 1e-5
    middle = float(np.median(found[:, 3]))
    (fewer,) = asked(model, chelsea, min_score=middle).keypoints.instances
    assert 0 < len(fewer.points) <= len(found) / 2
    parity_table.append(
        ParityRow(
            "keypoint-detection", "superpoint", runtime, "post_process_keypoint_detection", f"score {difference:.1e}"
        )
    )


@pytest.mark.parametrize(("kind", "runtime"), [("vitpose", "onnx"), ("vitpose", "torch"), ("vitpose-plus", "torch")])
def test_poses_are_those_of_transformers_own_processor(
    kind: str,
    runtime: str,
    prepared: Callable[..., Path],
    source: Callable[[str], Path],
    chelsea: Image.Image,
    parity_table: list[ParityRow],
) -> None:
    model = Model.load(prepared(kind, runtime=runtime))
    assert model.preprocessing == "exact"
    assert not model.manifest.fallback_reason
    oracle = AutoModelForPoseEstimation.from_pretrained(source(kind))
    processor = load_processor(source(kind))
    differences = []
    for boxes in (BOXES, ()):
        within = decoding.persons(boxes, Size(*chelsea.size))
        coco = [[[b.x_min_px, b.y_min_px, b.x_max_px - b.x_min_px, b.y_max_px - b.y_min_px] for b in within]]
        inputs = processor(images=chelsea, boxes=coco, return_tensors="pt")
        index = {"dataset_index": torch.zeros(len(within), dtype=torch.int64)} if kind == "vitpose-plus" else {}
        with torch.inference_mode():
            outputs = oracle(**inputs, **index)
        (theirs,) = processor.post_process_pose_estimation(outputs, boxes=coco, threshold=0.0)
        ours = asked(model, chelsea, boxes=boxes).keypoints.instances
        assert [instance.box for instance in ours] == within
        for instance, pose in zip(ours, theirs, strict=True):
            found = points(instance)
            assert found[:, 0].tolist() == pose["labels"].tolist()
            np.testing.assert_allclose(found[:, 1:3], pose["keypoints"], atol=0.05)
            differences.append(float(np.abs(found[:, 3] - pose["scores"].numpy()).max()))
    assert 0 < sum(len(instance.points) for instance in ours) < 10, "some joints must be nowhere"
    assert max(differences) < 1e-4
    parity_table.append(
        ParityRow("keypoint-detection", kind, runtime, "post_process_pose_estimation", f"score {max(differences):.1e}")
    )


def test_calls_with_several_persons_each_have_their_own_answers(
    prepared: Callable[..., Path], chelsea: Image.Image
) -> None:
    model = Model.load(prepared("vitpose"))
    image = encoded(chelsea)
    boxes = [list(BOXES), [BOXES[1]], [], [Box(x_min_px=10, x_max_px=5, y_max_px=1)]]
    together = model.infer([Job(image, AnswerOptions(boxes=each)) for each in boxes])
    assert isinstance(together[3], InvalidRequestError)
    for each, inferred in zip(boxes[:3], together, strict=False):
        assert isinstance(inferred, Inferred)
        assert inferred.answer is not None
        alone = asked(model, chelsea, boxes=each).keypoints.instances
        for one, other in zip(inferred.answer.keypoints.instances, alone, strict=True):
            np.testing.assert_allclose(points(one), points(other), atol=0.01)


def test_a_model_of_another_architecture_is_refused_by_name(source: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"served with SuperPointFor.*; this is a vit"):
        open_network(source("vit"), "keypoint-detection", Trust())
