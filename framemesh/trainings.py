"""What a training may be and is told, and when it has come to its end. Pure."""

from framemesh.errors import InvalidRequestError
from framemesh.names import MAX_MODEL_LENGTH, check_label
from framemesh.v1.training_pb2 import Training, TrainingSpec
from framemesh.v1.training_pb2 import TrainingPhase as Phase

DATASETS = "lake://datasets/"
ENDED = frozenset({Phase.TRAINING_PHASE_STOPPED, Phase.TRAINING_PHASE_SUCCEEDED, Phase.TRAINING_PHASE_FAILED})

_MAX_SOURCE = 1024
BOUNDS = {
    "epochs": (1, 10_000),
    "batch_size": (1, 65_536),
    "learning_rate": (1e-8, 10.0),
    "seed": (0, 2**31 - 1),
}
"""Of each number that may be chosen, the least and the most."""


def check(spec: TrainingSpec) -> None:
    """Pass a training that can be started.

    Raises:
        InvalidNameError: Its name is no DNS label.
        InvalidRequestError: A field is missing, or has a value that no training can have.
    """
    check_label("model", spec.name, max_length=MAX_MODEL_LENGTH)
    dataset_key(spec.dataset)
    if not spec.base or max(len(spec.base), len(spec.revision)) > _MAX_SOURCE:
        raise InvalidRequestError(
            f"a training starts from a base, of at most {_MAX_SOURCE:,} characters: name a Hugging Face id or "
            "lake://training/NAME/RUN",
            field="base",
        )
    for field, (least, most) in BOUNDS.items():
        if spec.HasField(field) and not least <= getattr(spec, field) <= most:  # type: ignore[arg-type]
            raise InvalidRequestError(
                f"{field} can't be {getattr(spec, field):g}: use {least:g} to {most:,g}", field=field
            )


def dataset_key(dataset: str) -> str:
    """Where a dataset lies in its bucket, as `<name>/<version>`.

    Raises:
        InvalidRequestError: It isn't in the lake, where alone everybody finds it.
    """
    key = dataset.removeprefix(DATASETS)
    if len(dataset) > _MAX_SOURCE or key == dataset or len([part for part in key.split("/") if part]) != 2:
        raise InvalidRequestError(
            f"{dataset[:200]!r} is no dataset of the lake: export it with `framemesh dataset export "
            f"{DATASETS}NAME/VERSION` and name that",
            field="dataset",
        )
    return key.strip("/")


def arguments(spec: TrainingSpec, *, folder: str, base: str = "") -> tuple[str, ...]:
    """What `python -m trainer` is told of a training.

    Args:
        spec: The training.
        folder: Where it may work.
        base: What to start from, where that isn't what the spec says.
    """
    return (
        "--folder", folder, "--name", spec.name, "--dataset", spec.dataset, f"--base={base or spec.base}",
        *options(spec),
    )  # fmt: skip


def options(spec: TrainingSpec) -> tuple[str, ...]:
    """Of that what is chosen: all but its name and places."""
    return (
        *(
            word
            for field in BOUNDS
            if spec.HasField(field)  # type: ignore[arg-type]
            for word in (f"--{field.replace('_', '-')}", str(getattr(spec, field)))
        ),
        *((f"--revision={spec.revision}",) if spec.revision else ()),
        *(("--head-only",) if spec.head_only else ()),
    )


def ended(training: Training, generation: int) -> bool:
    """Whether a wish of that generation, or of a later one, has come to its end."""
    return training.status.generation >= generation and training.status.phase in ENDED
