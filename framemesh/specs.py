"""Model specs: what a user may ask for, from the command line or over gRPC. Pure, but for `start=2h`'s clock."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.json_format import MessageToJson, Parse, ParseError

from framemesh.errors import FramemeshError, InvalidSpecError
from framemesh.limits import MAX_LABEL_LENGTH, MAX_LABELS
from framemesh.names import MAX_MODEL_LENGTH, check_label, to_label
from framemesh.times import parse_time
from framemesh.v1.model_pb2 import EveryFrame, FramePolicy, LatestFrame, ModelSpec, Precision, Release, Runtime

MAX_REPLICAS = 64
MIN_FPS, MAX_FPS = 0.001, 1000.0
MAX_SOURCE_LENGTH = 1024
LAKE = "lake://models/"
"""How the sources begin that name a prepared model in the lake: `lake://models/<name>/<version>`."""
IN_LAKE = re.compile(
    re.escape(LAKE) + r"(?P<name>[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?)/(?P<version>\w[\w.-]{0,127})", re.ASCII
)
"""All of such a source."""

_VERSION = ("source", "revision", "task", "runtime", "precision", "candidate_labels")
_RUNTIMES = {"onnx": Runtime.RUNTIME_ONNX, "torch": Runtime.RUNTIME_TORCH}
_PRECISIONS = {
    "fp32": Precision.PRECISION_FP32,
    "int8": Precision.PRECISION_INT8,
    "fp16": Precision.PRECISION_FP16,
    "bf16": Precision.PRECISION_BF16,
}
_CHOICES: dict[str, Mapping[str, int]] = {"runtime": _RUNTIMES, "precision": _PRECISIONS}
_RUNTIME_OF = {Precision.PRECISION_INT8: "onnx", Precision.PRECISION_FP16: "torch", Precision.PRECISION_BF16: "torch"}
SYNTAX = (
    "[NAME=]SOURCE[,task=TASK][,runtime=onnx|torch][,precision=fp32|int8|fp16|bf16][,policy=every|latest|fps=N]"
    "[,replicas=N][,revision=R][,camera=C]...[,label=WORDS]...[,start=TIME][,shadow=true]"
)


def complete(spec: ModelSpec) -> ModelSpec:
    """The spec with every default filled in.

    Raises:
        InvalidSpecError: It can't be deployed; the message names the field and the mend.
    """
    done = ModelSpec()
    done.CopyFrom(spec)
    _check_words(done)
    cameras = dict.fromkeys(done.cameras)  # NATS refuses a consumer that names one twice
    del done.cameras[:]
    done.cameras.extend(cameras)
    if done.runtime == Runtime.RUNTIME_UNSPECIFIED:
        done.runtime = Runtime.RUNTIME_ONNX
    if done.runtime not in _RUNTIMES.values():
        raise _wrong("runtime", done.runtime, f"use {' or '.join(_RUNTIMES)}")
    if done.precision == Precision.PRECISION_UNSPECIFIED:
        done.precision = Precision.PRECISION_FP32
    _check_precision(done)
    if not done.HasField("replicas"):
        done.replicas = 1
    if not 0 <= done.replicas <= MAX_REPLICAS:
        raise _wrong("replicas", done.replicas, f"use 0 to {MAX_REPLICAS}")
    if done.policy.WhichOneof("policy") is None:
        done.policy.latest.SetInParent()
    if done.policy.HasField("max_fps") and not MIN_FPS <= done.policy.max_fps <= MAX_FPS:
        raise _wrong("max_fps", done.policy.max_fps, f"use {MIN_FPS:g} to {MAX_FPS:g}")
    try:
        done.start.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise _wrong("start", done.start.seconds, "use a time of the years 1 to 9999") from None
    return done


def same_version(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether the same servers do for both: neither their number counts nor which frames they see, nor who is told."""
    return all(getattr(one, field) == getattr(other, field) for field in _VERSION)


def as_version(spec: ModelSpec, other: ModelSpec) -> ModelSpec:
    """The spec, but for the version, which is another one's, and for the origin, which it lacks."""
    return ModelSpec(
        name=spec.name,
        source=other.source,
        revision=other.revision,
        task=other.task,
        runtime=other.runtime,
        precision=other.precision,
        candidate_labels=other.candidate_labels,
        replicas=spec.replicas,
        cameras=spec.cameras,
        policy=spec.policy,
        start=spec.start if spec.HasField("start") else None,
        shadow=spec.shadow,
    )


def served_as(spec: ModelSpec, release: Release) -> ModelSpec:
    """The spec, but served by exactly this release: as it lies in the lake, whatever its hub's branch is by now."""
    own, labels = release.spec, release.spec.candidate_labels
    if release.source:  # runtime, precision and task of what lies there are as it was prepared, be they as asked or not
        own = ModelSpec(source=release.source, runtime=release.runtime, candidate_labels=labels)
    return complete(as_version(spec, own))


def dump(spec: ModelSpec) -> bytes:
    """A spec as its entry in the bucket `models`, in JSON so that people can read it with any NATS tool."""
    return MessageToJson(spec, indent=None).encode()


def load(name: str, value: bytes) -> ModelSpec:
    """The spec in the entry of that name in the bucket `models`, complete.

    Raises:
        InvalidSpecError: It isn't one, such as one written by hand.
    """
    try:
        spec = complete(Parse(value, ModelSpec(), ignore_unknown_fields=True))
    except (ParseError, UnicodeDecodeError) as error:
        raise InvalidSpecError(f"the entry of model {name!r} is no spec: {error}", model=name) from error
    if spec.name != name:
        raise InvalidSpecError(f"the entry of model {name!r} is of model {spec.name!r}", model=name)
    return spec


def parse(text: str, *, default_policy: FramePolicy | None = None, now: datetime | None = None) -> ModelSpec:
    """A complete spec from what a user types, such as `vit=google/vit-base-patch16-224,runtime=torch,policy=every`.

    Without a name, the last part of the source names the model; of one in the lake, the part before the version.

    Args:
        text: What the user typed.
        default_policy: The policy where the text names none; unset means `latest`.
        now: What `start=2h` counts back from; unset means the clock's.

    Raises:
        InvalidSpecError: The text doesn't follow `SYNTAX`, or the spec can't be deployed.
    """
    source, *options = text.split(",")
    name, equals, rest = source.partition("=")
    pairs = []
    for option in options:
        key, has_value, value = option.partition("=")
        if not has_value:
            raise InvalidSpecError(f"{option!r} in model {text!r} has no value; write {SYNTAX}", model=text)
        pairs.append((key, value))
    return made(rest if equals else source, pairs, name=name if equals else None, policy=default_policy, now=now)


def made(
    source: str,
    options: Iterable[tuple[str, str]],
    *,
    name: str | None = None,
    policy: FramePolicy | None = None,
    now: datetime | None = None,
) -> ModelSpec:
    """A complete spec from what a user chose, option by option.

    Args:
        source: Of the model.
        options: Each with its value, as `parse` takes them; those that may stand several times add up.
        name: Of the model; unset, made of the source.
        policy: Where no option names one; unset means `latest`.
        now: As `parse` takes it.

    Raises:
        InvalidSpecError: There is no such option or value, or the spec can't be deployed.
    """
    spec = ModelSpec(name=_name_of(source) if name is None else name, source=source)
    if policy is not None:
        spec.policy.CopyFrom(policy)
    for key, value in options:
        if key == "start":
            _set_start(spec, value, now or datetime.now(UTC))
        else:
            _set(spec, key, value)
    return complete(spec)


def parse_policy(text: str) -> FramePolicy:
    """A policy from `every`, `latest` or `fps=N`.

    Raises:
        InvalidSpecError: It is none of them.
    """
    if text == "every":
        return FramePolicy(every=EveryFrame())
    if text == "latest":
        return FramePolicy(latest=LatestFrame())
    prefix, _, number = text.partition("=")
    try:
        if prefix == "fps":
            return FramePolicy(max_fps=float(number))
    except ValueError:
        pass
    raise _wrong("policy", text, "use every, latest or fps=N")


def policy_text(policy: FramePolicy) -> str:
    """The policy as a user types it."""
    kind = policy.WhichOneof("policy")
    return f"fps={policy.max_fps:g}" if kind == "max_fps" else str(kind or "latest")


def runtime_of(text: str) -> Runtime.ValueType:
    """The runtime that a user types so."""
    return _RUNTIMES[text]


def runtime_text(runtime: Runtime.ValueType) -> str:
    """The runtime as a user types it."""
    return Runtime.Name(runtime).removeprefix("RUNTIME_").lower()


def precision_text(precision: Precision.ValueType) -> str:
    """The precision as a user types it."""
    return Precision.Name(precision).removeprefix("PRECISION_").lower()


def _name_of(source: str) -> str:
    path = Path(source)
    part = path.parent.name if source.startswith(LAKE) else path.name.rpartition(":")[2]
    return to_label(part, max_length=MAX_MODEL_LENGTH)


def _check_precision(spec: ModelSpec) -> None:
    if spec.precision not in _PRECISIONS.values():
        raise _wrong("precision", spec.precision, f"use {' or '.join(_PRECISIONS)}")
    runtime = _RUNTIME_OF.get(spec.precision)
    if runtime is not None and spec.runtime != _RUNTIMES[runtime]:
        raise _wrong(
            "precision", precision_text(spec.precision), f"it needs runtime={runtime}, not {runtime_text(spec.runtime)}"
        )


def _check_words(spec: ModelSpec) -> None:
    if not spec.source:  # of which the name may have been made
        raise _wrong("source", spec.source, "give a Hugging Face id or the path of a model folder")
    try:
        check_label("model", spec.name, max_length=MAX_MODEL_LENGTH)
        for camera in spec.cameras:
            check_label("camera", camera)
    except FramemeshError as error:
        raise InvalidSpecError(str(error), **error.values) from None
    for field, value in (("source", spec.source), ("revision", spec.revision), ("task", spec.task)):
        if len(value) > MAX_SOURCE_LENGTH or not (value.isprintable() or not value):
            raise _wrong(field, value[:80], f"use at most {MAX_SOURCE_LENGTH} printable characters")
    if len(spec.candidate_labels) > MAX_LABELS:
        raise _wrong("candidate_labels", f"{len(spec.candidate_labels)} labels", f"name at most {MAX_LABELS}")
    for label in spec.candidate_labels:
        if not label.strip() or len(label) > MAX_LABEL_LENGTH:
            raise _wrong("label", label[:80], f"write 1 to {MAX_LABEL_LENGTH} characters")


def _set(spec: ModelSpec, key: str, value: str) -> None:
    match key:
        case "runtime" | "precision":
            setattr(spec, key, _chosen(key, value))
        case "policy":
            spec.policy.CopyFrom(parse_policy(value))
        case "replicas" if value.isdecimal() and int(value) <= MAX_REPLICAS:
            spec.replicas = int(value)
        case "replicas":
            raise _wrong("replicas", value, f"use 0 to {MAX_REPLICAS}")
        case "revision" | "task":
            setattr(spec, key, value)
        case "shadow" if value in {"true", "false"}:
            spec.shadow = value == "true"
        case "shadow":
            raise _wrong("shadow", value, "use true or false")
        case "label":
            spec.candidate_labels.append(value)
        case "camera":
            spec.cameras.append(value)
        case _:
            raise InvalidSpecError(f"unknown model option {key!r}; write {SYNTAX}", option=key)


def _set_start(spec: ModelSpec, text: str, now: datetime) -> None:
    try:
        spec.start.FromDatetime(parse_time(text, now=now))
    except (ValueError, OverflowError) as error:
        raise _wrong("start", text, str(error)) from None


def _chosen(key: str, value: str) -> int:
    choices = _CHOICES[key]
    if value not in choices:
        raise _wrong(key, value, f"use {' or '.join(choices)}")
    return choices[value]


def _wrong(field: str, value: object, mend: str) -> InvalidSpecError:
    return InvalidSpecError(f"{field} can't be {value!r}: {mend}", field=field, value=value)
