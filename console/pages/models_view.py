"""What the page Models says of a model: its state, what is being done, what is wrong and what to do about it. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from console.texts import marked
from framemesh.figures import ModelFigures
from framemesh.specs import as_version, policy_text, precision_text, runtime_text
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import Model, ModelSpec, Runtime
from framemesh.words import printable, serving_count, short_version, span, torch_stands_in


class Tone(StrEnum):
    """How a state looks; the value is its style."""

    GOOD = "good"
    BUSY = "busy"
    WARN = "warn"
    BAD = "bad"
    IDLE = ""


_STEPS = {
    Phase.DEPLOYMENT_PHASE_PENDING: marked("Waits for its turn"),
    Phase.DEPLOYMENT_PHASE_DOWNLOADING: marked("Downloading"),
    Phase.DEPLOYMENT_PHASE_EXPORTING: marked("Exporting and comparing with torch"),
    Phase.DEPLOYMENT_PHASE_UPLOADING: marked("Putting it into the lake"),
    Phase.DEPLOYMENT_PHASE_STARTING: marked("Starting its servers"),
    Phase.DEPLOYMENT_PHASE_ROLLING_OUT: marked("Starting servers beside those that answer"),
}
_TROUBLES = {
    Phase.DEPLOYMENT_PHASE_PENDING: (Tone.WARN, marked("Tries again"), marked("It is tried again by itself.")),
    Phase.DEPLOYMENT_PHASE_FAILED: (
        Tone.BAD,
        marked("Failed"),
        marked("Mend what it says, then use Replace. It is tried again by itself too, ever less often."),
    ),
    Phase.DEPLOYMENT_PHASE_ROLLED_BACK: (
        Tone.WARN,
        marked("Rolled back"),
        marked("{source} could not be made ready: what was there before goes on answering. Replace it with another."),
    ),
}
"""Tone, state and advice of what does not go on; of what is pending only where the mesh says why."""
_WAITS = marked("Waits for a deployer to take it up")


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model as its card shows it. Texts of ours are English, to be translated; the rest is as the mesh says it.

    Attributes:
        name: Its name.
        source: Where it comes from; after rolling back, what goes on of it.
        wanted_source: Where what is wanted comes from: another source where that could not be made ready.
        form: Runtime, precision and policy in a few words, and whether it is a shadow.
        cameras: The cameras whose frames it sees; none means all.
        tone: How its state looks.
        state: Its state in a word or two; ours.
        ready: How many servers answer.
        wanted: How many should.
        live: Address of its answers drawn on what cameras see; empty where there are none, or it is a shadow.
        step: What is being done; ours; empty where nothing is.
        progress: How much of the step is done, from 0 to 1; none where that isn't known.
        trouble: What went wrong, in the mesh's words; empty where nothing has.
        advice: What to do about it, or what it means; ours; empty where there is nothing to say.
        version: Which weights serve, shortened; empty where none do.
    """

    name: str
    source: str
    wanted_source: str
    form: str
    cameras: tuple[str, ...]
    tone: Tone
    state: str
    ready: int
    wanted: int
    live: str
    step: str
    progress: float | None
    trouble: str
    advice: str
    version: str


def going_on(model: Model) -> ModelSpec:
    """The model as it is wanted, but where that could not be made ready, as the version before that goes on."""
    status = model.status
    if status.phase != Phase.DEPLOYMENT_PHASE_ROLLED_BACK or status.generation < model.generation:
        return model.spec
    return as_version(model.spec, status.serving.spec) if status.HasField("serving") else model.spec


def wanted_since_ns(model: Model) -> int:
    """Since when there is a model of that name, in Unix nanoseconds, by what is known of the versions it has had."""
    status = model.status
    versions = [model.spec, *(release.spec for release in (status.serving, *status.previous))]
    return min((spec.origin.time.ToNanoseconds() for spec in versions if spec.origin.HasField("time")), default=0)


def model_view(model: Model) -> ModelView:
    """The model as its card shows it."""
    spec, status = going_on(model), model.status
    serving = serving_count(model)
    tone, state, step, advice = _state(model, serving)
    versions = {replica.model_version for replica in model.replicas} - {""}
    if status.serving.model_version:
        versions = {status.serving.model_version}
    runs_on = status.serving.runtime or spec.runtime
    form = f"{runtime_text(runs_on)} {precision_text(spec.precision)} · {policy_text(spec.policy)}"
    form += " · shadow" if spec.shadow else ""
    if status.serving.runtime == Runtime.RUNTIME_TORCH != spec.runtime and not advice:
        advice = marked("It could not be exported to ONNX with the same answers, so torch serves it. Its log says why.")
    if step and not advice and torch_stands_in(model):
        advice = marked("Torch answers until its faster form is ready.")
    return ModelView(
        name=spec.name,
        source=printable(spec.source),
        wanted_source=printable(model.spec.source),
        form=form,
        cameras=tuple(spec.cameras),
        tone=tone,
        state=state,
        ready=serving,
        wanted=spec.replicas,
        live=f"/?models={spec.name}" if serving and not spec.shadow else "",
        step=step,
        progress=(status.progress or None) if step and step != _WAITS else None,
        trouble=printable(" ".join(status.message.split())),
        advice=advice,
        version=", ".join(sorted(map(short_version, versions))),
    )


def _state(model: Model, serving: int) -> tuple[Tone, str, str, str]:
    """Tone, state, step and advice."""
    status = model.status
    answers = (Tone.GOOD, marked("Ready")) if serving else (Tone.BUSY, marked("On its way"))
    if serving and not model.HasField("status"):  # servers that somebody started by hand
        return (*answers, "", "")
    if status.generation < model.generation:
        return (*answers, _WAITS, marked("Nobody has taken it up yet. If that stays so, see Health for the deployer."))
    if status.phase == Phase.DEPLOYMENT_PHASE_READY:
        return _ready(serving, model.spec)
    in_turn = status.phase == Phase.DEPLOYMENT_PHASE_PENDING and not status.message
    if status.phase in _TROUBLES and not in_turn:
        tone, state, advice = _TROUBLES[status.phase]
        return tone, state, "", advice
    return (*answers, _STEPS.get(status.phase, marked("Under way")), "")


def _ready(serving: int, spec: ModelSpec) -> tuple[Tone, str, str, str]:
    if not spec.replicas:
        words = marked("No server is wanted. Frames are skipped meanwhile; add a server to go on.")
        if spec.policy.HasField("every"):
            words = marked("No server is wanted. Its frames wait; add a server to go on.")
        return Tone.IDLE, marked("Paused"), "", words
    if serving >= spec.replicas:
        return Tone.GOOD, marked("Ready"), "", ""
    words = marked("A server has gone and is started again by itself. If it stays away, its log says why.")
    if serving:
        return Tone.WARN, marked("Partly ready"), "", words
    return Tone.BAD, marked("No server answers"), "", words


@dataclass(frozen=True, slots=True)
class FiguresView:
    """A model's figures as texts; empty where nothing is known yet."""

    rate: str
    latency: str
    staleness: str
    waiting: str
    failed: str
    newest: str
    newest_error: str


def figures_view(figures: ModelFigures | None, waiting: int | None) -> FiguresView:
    """A model's figures as texts.

    Args:
        figures: What its results say; none before the first.
        waiting: How many frames it has yet to answer or to skip; none where that isn't known.
    """
    found = figures or ModelFigures()
    answered = bool(found.newest)
    return FiguresView(
        rate=f"{found.answered.value():.1f}/s",
        latency=span(found.latency) if answered else "",
        staleness=span(max(0.0, found.staleness)) if answered else "",
        waiting="" if waiting is None else f"{waiting:,}",
        failed=f"{found.failed:,}",
        newest=found.newest,
        newest_error=found.newest_error,
    )
