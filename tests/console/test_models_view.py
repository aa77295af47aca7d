"""What the page Models says of a model, and what its form makes."""

import pytest

from console.pages.models_check import problem_of, told
from console.pages.models_order import PRECISIONS, Order, field_of, of_spec, of_text
from console.pages.models_view import Tone, figures_view, going_on, model_view, wanted_since_ns
from console.texts import translator
from framemesh.errors import InvalidSpecError
from framemesh.figures import ModelFigures
from framemesh.frames import timestamp
from framemesh.specs import parse
from framemesh.v1.answer_pb2 import Answer, AnswerError, Classification, Label, ModelAnswer
from framemesh.v1.frame_pb2 import Frame
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import DeploymentStatus, Model, ModelReplica, Release, ReplicaState, Runtime
from framemesh.v1.result_pb2 import Result


def model(phase: str = "", serving: int = 0, *, generation: int = 1, text: str = "vit=a/vit", **told: object) -> Model:
    """A model of generation 1 with so many servers that answer."""
    replica = ModelReplica(state=ReplicaState.REPLICA_STATE_SERVING, model_version="sha256-0123456789abcdef")
    made = Model(spec=parse(text), generation=1, replicas=[replica] * serving)
    if phase:
        status = DeploymentStatus(phase=Phase.Value(f"DEPLOYMENT_PHASE_{phase}"), generation=generation, **told)  # type: ignore[arg-type]
        made.status.CopyFrom(status)
    return made


@pytest.mark.parametrize(
    ("shown", "tone", "state"),
    [
        (model("READY", 1), Tone.GOOD, "Ready"),
        (model("READY", 1, text="vit=a/vit,replicas=2"), Tone.WARN, "Partly ready"),
        (model("READY", 0), Tone.BAD, "No server answers"),
        (model("READY", 0, text="vit=a/vit,replicas=0"), Tone.IDLE, "Paused"),
        (model("FAILED", message="no such model"), Tone.BAD, "Failed"),
        (model("ROLLED_BACK", 1, message="no such model"), Tone.WARN, "Rolled back"),
        (model("PENDING", message="the hub does not answer"), Tone.WARN, "Tries again"),
        (model("DOWNLOADING"), Tone.BUSY, "On its way"),
        (model("ROLLING_OUT", 1), Tone.GOOD, "Ready"),
        (model(serving=1), Tone.GOOD, "Ready"),
        (model(), Tone.BUSY, "On its way"),
    ],
)
def test_a_model_has_a_state_and_what_is_not_well_has_advice(shown: Model, tone: Tone, state: str) -> None:
    view = model_view(shown)
    assert (view.tone, view.state) == (tone, state)
    assert bool(view.advice) == (tone in {Tone.WARN, Tone.BAD, Tone.IDLE} or shown == model())
    assert view.trouble == shown.status.message


@pytest.mark.parametrize("phase", sorted(set(Phase.keys()) - {"DEPLOYMENT_PHASE_UNSPECIFIED"}))
def test_every_phase_is_either_a_step_or_a_state(phase: str) -> None:
    view = model_view(model(phase.removeprefix("DEPLOYMENT_PHASE_"), progress=0.5))
    assert bool(view.step) == (view.progress == 0.5)
    assert view.step or view.tone in {Tone.WARN, Tone.BAD}


def test_what_answers_can_be_watched_unless_it_is_a_shadow() -> None:
    assert model_view(model("READY", 1)).live == "/?models=vit"
    assert not model_view(model("EXPORTING")).live
    assert not model_view(model("READY", 1, text="vit=a/vit,shadow=true")).live


def test_a_wish_that_nobody_has_taken_up_waits_whatever_was_told_of_the_one_before() -> None:
    view = model_view(model("FAILED", generation=0, message="no such model"))
    assert (view.step, view.progress) == ("Waits for a deployer to take it up", None)


def test_a_model_that_torch_answers_for_while_it_is_exported_says_so() -> None:
    found = model("EXPORTING", 1, progress=0.3)
    assert not model_view(found).advice  # of a server that doesn't say what runs it
    found.replicas[0].runtime = Runtime.RUNTIME_TORCH
    view = model_view(found)
    assert (view.tone, view.state, view.progress, view.live) == (Tone.GOOD, "Ready", 0.3, "/?models=vit")
    assert view.advice.startswith("Torch answers")
    found.replicas[0].runtime = Runtime.RUNTIME_ONNX
    assert not model_view(found).advice
    found.spec.runtime = Runtime.RUNTIME_TORCH
    found.replicas[0].runtime = Runtime.RUNTIME_TORCH
    assert not model_view(found).advice


def test_a_model_that_could_not_be_exported_says_that_torch_serves_it() -> None:
    found = model("READY", 1)
    release = Release(spec=found.spec, runtime=Runtime.RUNTIME_TORCH, model_version="sha256-0123456789abcdef")
    found.status.serving.CopyFrom(release)
    view = model_view(found)
    assert view.form == "torch fp32 · latest"
    assert "exported" in view.advice
    assert view.version == "0123456789ab"


@pytest.mark.parametrize(("policy", "advice"), [("latest", "skipped"), ("fps=2", "skipped"), ("every", "frames wait")])
def test_a_paused_model_says_what_becomes_of_its_frames(policy: str, advice: str) -> None:
    assert advice in model_view(model("READY", text=f"vit=a/vit,replicas=0,policy={policy}")).advice


def test_what_was_rolled_back_shows_what_serves_and_names_what_does_not() -> None:
    found = model("ROLLED_BACK", 1, text="vit=b/new,precision=int8,revision=main,replicas=2,camera=gate", message="no")
    found.status.serving.CopyFrom(Release(spec=parse("vit=a/old,runtime=torch"), runtime=Runtime.RUNTIME_TORCH))
    view = model_view(found)
    assert (view.source, view.wanted_source, view.form) == ("a/old", "b/new", "torch fp32 · latest")
    assert going_on(found) == parse("vit=a/old,runtime=torch,replicas=2,camera=gate")
    found.generation += 1  # somebody has asked for another one already
    assert model_view(found).source == "b/new"


def test_a_model_is_there_since_the_first_of_its_versions_was_wanted() -> None:
    found = model("READY", 1)
    assert wanted_since_ns(found) == 0
    found.spec.origin.time.CopyFrom(timestamp(30))
    assert wanted_since_ns(found) == 30
    found.status.serving.spec.origin.time.CopyFrom(timestamp(20))
    found.status.previous.add().spec.origin.time.CopyFrom(timestamp(10))
    assert wanted_since_ns(found) == 10


def test_what_others_wrote_is_shown_on_one_line_and_its_signs_as_escapes() -> None:
    view = model_view(model("FAILED", message="no\n  such\x1b[31m model"))
    assert view.trouble == "no such\\x1b[31m model"


def result(*, score: float = 0.9, error: str = "", skipped: int = 0, replayed: bool = False) -> Result:
    answer = ModelAnswer(
        model="vit", answer=Answer(classification=Classification(labels=[Label(name="cat", score=score)]))
    )
    if error:
        answer = ModelAnswer(model="vit", error=AnswerError(reason=error, message="x"))
    made = Result(frame=Frame(camera="gate"), answer=answer, skipped_frame_count=skipped, replayed=replayed)
    made.frame.capture_time.CopyFrom(timestamp(10**18))
    made.answer_time.CopyFrom(timestamp(10**18 + 250_000_000))
    made.latency.FromMilliseconds(20)
    return made


def test_figures_are_those_of_the_newest_result_and_count_failures_and_skips() -> None:
    figures = ModelFigures()
    assert figures_view(figures, None).latency == ""
    for one in (result(skipped=2), result(error="INVALID_IMAGE"), result(score=0.5, skipped=1)):
        figures.add(one)
    view = figures_view(figures, 1234)
    assert (view.latency, view.staleness, view.waiting, view.failed) == ("20 ms", "250 ms", "1,234", "1")
    assert (view.newest, view.newest_error) == ("gate: cat 0.500", "gate: INVALID_IMAGE: x ")
    assert figures.skipped == 3


def test_a_replayed_result_says_nothing_of_how_a_model_is_now() -> None:
    figures = ModelFigures()
    figures.add(result(replayed=True))
    assert (figures.newest, figures.latency) == ("", 0.0)
    assert figures.answered.value() > 0


@pytest.mark.parametrize(
    "text",
    [
        "vit=google/vit-base-patch16-224",
        "detr=facebook/detr-resnet-50,policy=fps=2.5,camera=gate,camera=yard,replicas=3",
        "clip=openai/clip,label=a cat,label=a dog,runtime=torch,precision=bf16,task=x,revision=main,policy=every",
        "next=a/vit,shadow=true,start=2026-01-31T07:30",
    ],
)
def test_a_deployed_model_fills_the_form_that_makes_it_again(text: str) -> None:
    assert of_spec(parse(text)).spec() == parse(text)


def test_every_precision_that_the_form_offers_fits_its_runtime() -> None:
    for runtime, precisions in PRECISIONS.items():
        for precision in precisions:
            Order(source="a/b", runtime=runtime, precision=precision).spec()


@pytest.mark.parametrize(
    ("order", "field", "mend"),
    [
        (Order(), "source", "give a Hugging Face id"),
        (Order(source="a/b", name="My Model"), "name", "use 1 to 40 of a-z"),
        (Order(source="a/b", replicas="65"), "replicas", "use 0 to 64"),
        (Order(source="a/b", replicas="1.7"), "replicas", "use 0 to 64"),
        (Order(source="a/b", replicas=""), "replicas", "use 0 to 64"),
        (Order(source="a/b", policy="fps", fps="0"), "policy", "use 0.001 to 1000"),
        (Order(source="a/b", policy="fps", fps=""), "policy", "use every, latest or fps=N"),
        (Order(source="a/b", labels=(" ",)), "labels", "write 1 to 256 characters"),
        (Order(source="a/b", precision="fp16"), "precision", "runtime=torch"),
        (Order(source="a/b", task="\x00"), "task", "printable"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_with_the_mend(order: Order, field: str, mend: str) -> None:
    with pytest.raises(InvalidSpecError, match=mend) as told:
        order.spec()
    assert field_of(told.value) == field


@pytest.mark.parametrize(
    "order",
    [
        Order(),
        Order(source="a/b", name="My Model"),
        Order(source="a/b", replicas="-3"),
        Order(source="a/b", replicas=""),
        Order(source="a/b", policy="fps", fps="100000"),
        Order(source="a/b", policy="fps", fps=""),
        Order(source="no such model!", name="x"),
        Order(source="<b>x</b>"),
        Order(source="https://huggingface.co/google/vit-base-patch16-224"),
        Order(source="demo:nope"),
        Order(source="lake://models/vit"),
    ],
)
def test_what_is_commonly_wrong_is_said_in_the_visitors_language(order: Order) -> None:
    english, korean = (problem_of(order, translator(language)) for language in ("en", "ko"))
    assert english is not None
    assert korean is not None
    assert english.field == korean.field
    assert english.words.isascii()
    assert any("가" <= letter <= "힣" for letter in korean.words)


@pytest.mark.parametrize(
    "source",
    [
        "gpt2",
        "google/vit-base-patch16-224",
        "models/of/mine/vit",
        "/data/my models/vit",
        "./모델/vit",
        "demo:efficientnet-lite1",
        "lake://models/vit/2026.11_b-1",
    ],
)
def test_what_may_name_a_model_is_taken(source: str) -> None:
    assert problem_of(Order(source=source), translator("en")) is None


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("google/vit-base-patch16-224,policy=every", Order(source="google/vit-base-patch16-224", policy="every")),
        ("vit=a/b,replicas=2", Order(source="a/b", name="vit", replicas="2")),
        ("demo:efficientnet-lite0", Order(source="demo:efficientnet-lite0")),
    ],
)
def test_a_link_fills_the_form(text: str, order: Order) -> None:
    assert of_text(text) == (order, None)


@pytest.mark.parametrize(
    ("text", "order", "field"),
    [
        ("a/b,runtime=torch,precision=int8,task=x", Order(source="a/b", runtime="torch", task="x"), "precision"),
        ("My Model=a/b,policy=every", Order(source="a/b", name="My Model", policy="every"), "name"),
        ("a/b,replicas=999,revision=main", Order(source="a/b", revision="main"), "replicas"),
        ("a/b,policy=sometimes", Order(source="a/b"), "policy"),
        ("a/b,colour=red,shadow=true", Order(source="a/b", shadow=True), ""),
        ("a/b,fast", Order(source="a/b"), ""),
        (",policy=every", Order(policy="every"), "source"),
        ("a/b" + ",camera=A" * 9999, Order(source="a/b"), "cameras"),
    ],
)
def test_a_link_with_an_error_fills_in_the_rest_and_says_what_is_wrong(text: str, order: Order, field: str) -> None:
    filled, wrong = of_text(text)
    assert filled == order
    assert wrong is not None
    assert told(wrong, translator("en")).field == field
