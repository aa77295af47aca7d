"""What somebody fills in to deploy a model, and the spec that it makes. Pure."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC

from framemesh import specs
from framemesh.errors import InvalidSpecError
from framemesh.v1.model_pb2 import ModelSpec

POLICIES = ("latest", "every", "fps")
RUNTIMES = ("onnx", "torch")
PRECISIONS = {"onnx": ("fp32", "int8"), "torch": ("fp32", "fp16", "bf16")}
"""By the runtime that has them."""
TASKS = (
    "image-classification", "object-detection", "image-segmentation", "depth-estimation",
    "zero-shot-image-classification", "zero-shot-object-detection", "image-feature-extraction", "image-to-text",
    "keypoint-detection",
)  # fmt: skip
"""In the hub's words; others may be typed."""
_MAX_OPTIONS = 64
"""So many options of a link with an error are looked at, each with all before it."""
_FIELDS = {"max_fps": "policy", "candidate_labels": "labels", "label": "labels", "camera": "cameras"}


@dataclass(frozen=True, slots=True)
class Order:
    """The form's fields, as they stand in it, and what it only keeps: from when on the model sees frames."""

    source: str = ""
    name: str = ""
    replicas: str = "1"
    policy: str = "latest"
    fps: str = "1"
    cameras: tuple[str, ...] = ()
    runtime: str = "onnx"
    precision: str = "fp32"
    task: str = ""
    revision: str = ""
    labels: tuple[str, ...] = ()
    shadow: bool = False
    start: str = ""

    def spec(self) -> ModelSpec:
        """The complete spec.

        Raises:
            InvalidSpecError: It can't be deployed; the message says the mend.
        """
        policy = f"fps={self.fps}" if self.policy == "fps" else self.policy
        options = [
            ("runtime", self.runtime),
            ("precision", self.precision),
            ("policy", policy),
            ("replicas", self.replicas),
            *(("camera", camera) for camera in self.cameras),
            *(("label", label) for label in self.labels),
        ]
        others = (("task", self.task), ("revision", self.revision), ("start", self.start))
        options += [(key, value) for key, value in others if value.strip()]
        if self.shadow:
            options.append(("shadow", "true"))
        return specs.made(self.source.strip(), options, name=self.name.strip() or None)


def of_spec(spec: ModelSpec) -> Order:
    """The form's fields for a model that is deployed."""
    kind = spec.policy.WhichOneof("policy")
    return Order(
        source=spec.source,
        name=spec.name,
        replicas=str(spec.replicas),
        policy="fps" if kind == "max_fps" else str(kind or "latest"),
        fps=f"{spec.policy.max_fps or 1:.15g}",
        cameras=tuple(spec.cameras),
        runtime=specs.runtime_text(spec.runtime),
        precision=specs.precision_text(spec.precision),
        task=spec.task,
        revision=spec.revision,
        labels=tuple(spec.candidate_labels),
        shadow=spec.shadow,
        start=spec.start.ToDatetime(UTC).isoformat() if spec.HasField("start") else "",
    )


def of_text(text: str) -> tuple[Order, InvalidSpecError | None]:
    """The form's fields for what a link says, such as `?model=vit=google/vit-base-patch16-224,policy=every`.

    What can't be of it is left as the form has it by itself, and the error says what that is.
    """
    model, *options = text.split(",")
    name, equals, source = model.partition("=")
    if not equals:
        name, source = "", model
    try:
        order, wrong = of_spec(specs.parse(text)), None
    except InvalidSpecError as error:
        order, wrong = of_spec(specs.parse(",".join(("any", *_sound(options))))), error
    return replace(order, source=source[: specs.MAX_SOURCE_LENGTH], name=name), wrong


def _sound(options: list[str]) -> list[str]:
    """Those of a link's options that can be, each with those before it."""
    sound: list[str] = []
    for option in options[:_MAX_OPTIONS]:
        with suppress(InvalidSpecError):
            specs.parse(",".join(("any", *sound, option)))
            sound.append(option)
    return sound


def field_of(error: InvalidSpecError) -> str:
    """The form's field that an error is about; empty where it is about none of them."""
    named = error.values.get("field", "")
    if error.values.get("kind"):
        named = {"model": "name", "camera": "cameras"}[error.values["kind"]]
    named = _FIELDS.get(named, named)
    return named if named in Order.__dataclass_fields__ else ""
