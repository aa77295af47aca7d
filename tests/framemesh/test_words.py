from datetime import UTC, datetime
from typing import Any

from framemesh.v1.answer_pb2 import (
    Answer,
    AnswerError,
    Classification,
    Depth,
    DetectedObject,
    Detection,
    Embedding,
    Keypoint,
    KeypointInstance,
    Keypoints,
    Label,
    ModelAnswer,
    Segment,
    Segmentation,
    Text,
)
from framemesh.v1.model_pb2 import (
    DeploymentPhase,
    DeploymentStatus,
    Model,
    ModelReplica,
    ModelSpec,
    ReplicaState,
    Runtime,
)
from framemesh.v1.status_service_pb2 import GetStatusResponse, ModelStatus
from framemesh.words import short_version, state, state_beside_problems, words
from gateway.problems import problems

CAT = Label(index=285, name="Egyptian cat", score=0.7672)


NOSE = Keypoint(label=Label(name="nose", score=0.5), x_px=3, y_px=4)
EYE = Keypoint(label=Label(name="eye", score=0.25), x_px=4, y_px=2)


def test_answers_are_said_line_by_line() -> None:
    classified = ModelAnswer(answer=Answer(classification=Classification(labels=[CAT])))
    assert words(classified) == [("Egyptian cat", "0.767")]
    detected = ModelAnswer(answer=Answer(detection=Detection(objects=[DetectedObject(label=CAT)])))
    assert words(detected) == [("Egyptian cat", "0.767")]
    assert words(ModelAnswer(answer=Answer(detection=Detection()))) == [("nothing", "")]
    segmented = ModelAnswer(answer=Answer(segmentation=Segmentation(segments=[Segment(label=CAT)] * 2)))
    assert words(segmented) == [("Egyptian cat", "0.767")] * 2
    assert words(ModelAnswer(answer=Answer(depth=Depth(minimum=0.25, maximum=81.2)))) == [("0.25 to 81.2", "")]
    assert words(ModelAnswer(answer=Answer(embedding=Embedding(values=[1.0] * 1024)))) == [("1,024 values", "")]
    assert words(ModelAnswer(answer=Answer(text=Text(text="two cats")))) == [("two cats", "")]
    assert words(ModelAnswer(answer=Answer(text=Text()))) == [("nothing", "")]
    persons = [KeypointInstance(points=[NOSE, EYE]), KeypointInstance()]
    pose = ModelAnswer(answer=Answer(keypoints=Keypoints(instances=persons)))
    assert words(pose) == [("2 points", "0.375"), ("nothing", "")]
    assert words(ModelAnswer(answer=Answer(keypoints=Keypoints()))) == [("nothing", "")]
    assert words(ModelAnswer(answer=Answer())) == [("None", "")]
    failed = ModelAnswer(error=AnswerError(code=14, reason="MODEL_UNAVAILABLE", message="loading"))
    assert words(failed) == [("MODEL_UNAVAILABLE: loading", "")]


def test_a_models_state_is_that_of_its_servers() -> None:
    def model(*states: ReplicaState.ValueType) -> Model:
        return Model(spec=ModelSpec(replicas=2), replicas=[ModelReplica(state=each) for each in states])

    assert state(model()) == "starting 0/2"
    assert state(model(ReplicaState.REPLICA_STATE_PREPARING)) == "preparing"
    assert state(model(ReplicaState.REPLICA_STATE_PREPARING, ReplicaState.REPLICA_STATE_LOADING)) == "loading"
    assert state(model(ReplicaState.REPLICA_STATE_SERVING, ReplicaState.REPLICA_STATE_LOADING)) == "ready 1/2"


def deployed(phase: str, serving: int = 0, **status: Any) -> Model:
    """A model with two servers wanted."""
    return Model(
        spec=ModelSpec(replicas=2),
        replicas=[ModelReplica(state=ReplicaState.REPLICA_STATE_SERVING)] * serving,
        status=DeploymentStatus(phase=DeploymentPhase.Value(f"DEPLOYMENT_PHASE_{phase}"), **status),
    )


def test_a_deployed_models_state_says_how_far_it_has_come_and_why_it_failed() -> None:
    def said(phase: str, serving: int = 0, **status: Any) -> str:
        return state(deployed(phase, serving, **status))

    assert said("PENDING", message="others are prepared") == "pending: others are prepared"
    assert said("DOWNLOADING", progress=0.4) == "downloading 40 %"
    assert said("EXPORTING") == "exporting"
    assert said("STARTING") == "starting 0/2"
    assert said("ROLLING_OUT", serving=2) == "ready 2/2, rolling out"
    assert said("READY", serving=2) == "ready 2/2"
    assert said("READY", serving=0) == "starting 0/2"
    assert said("FAILED", message="no such\x1b model") == r"failed: no such\x1b model"
    assert said("ROLLED_BACK", serving=1, message="out of memory") == "ready 1/2, rolled back: out of memory"


def test_a_model_that_torch_stands_in_for_says_so_until_a_version_serves() -> None:
    found = deployed("EXPORTING", serving=1, progress=0.25)
    found.replicas[0].runtime = Runtime.RUNTIME_TORCH
    assert state(found) == "ready 1/2 by torch, exporting 25 %"
    found.status.serving.source = "lake://models/vit/1"
    assert state(found) == "ready 1/2, exporting 25 %"


def test_beside_the_meshs_problems_a_state_repeats_no_reason_that_they_have() -> None:
    failed = deployed("FAILED", message="no such model")
    assert state_beside_problems(failed) == "failed"
    (problem,) = problems(GetStatusResponse(models=[ModelStatus(model=failed)]), datetime.now(UTC))
    assert "no such model" in problem
    rolled_back = deployed("ROLLED_BACK", serving=2, message="no such model")
    assert state_beside_problems(rolled_back) == "ready 2/2, rolled back: no such model"
    assert not list(problems(GetStatusResponse(models=[ModelStatus(model=rolled_back)]), datetime.now(UTC)))


def test_a_version_is_told_by_its_first_digits() -> None:
    assert short_version("sha256-9ace8d73f37f64aa766be4d625e427a7") == "9ace8d73f37f"
    assert short_version("2b1\x1b") == r"2b1\x1b"


def test_what_others_wrote_reaches_no_terminal_as_it_is() -> None:
    red = Label(name="\x1b[31mcat\r", score=1)
    assert words(ModelAnswer(answer=Answer(classification=Classification(labels=[red])))) == [
        (r"\x1b[31mcat\r", "1.000")
    ]
    failed = ModelAnswer(error=AnswerError(reason="X", message="\x07"))
    assert words(failed) == [(r"X: \x07", "")]
