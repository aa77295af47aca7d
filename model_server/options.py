"""What an asker may want of an answer, checked before anything is queued. Pure."""

from collections.abc import Sequence

from framemesh.errors import InvalidRequestError
from framemesh.limits import MAX_LABEL_LENGTH, MAX_LABELS
from framemesh.v1.answer_pb2 import AnswerOptions
from model_server.tasks.base import label_count

MAX_BOXES = 64
MAX_TOKENS = 512


def check_options(options: AnswerOptions) -> AnswerOptions:
    """Pass options that any model can be asked with.

    Raises:
        InvalidRequestError: A value is out of its range; the message names it.
    """
    label_count(options.max_label_count)
    check_labels(options.candidate_labels)
    if options.HasField("min_score") and not 0 <= options.min_score <= 1:  # NaN is neither
        raise InvalidRequestError(f"min_score can't be {options.min_score:g}: use 0 to 1", min_score=options.min_score)
    if len(options.boxes) > MAX_BOXES:
        raise InvalidRequestError(f"{len(options.boxes)} boxes are too many: send at most {MAX_BOXES} in one call")
    if not 0 <= options.max_token_count <= MAX_TOKENS:
        raise InvalidRequestError(
            f"max_token_count can't be {options.max_token_count}: use 1 to {MAX_TOKENS}, or 0 for the model's default",
            max_token_count=options.max_token_count,
        )
    return options


def check_labels(labels: Sequence[str]) -> None:
    """Pass what a zero-shot model may be asked to look for.

    Raises:
        InvalidRequestError: There are too many, or one is empty or too long.
    """
    if len(labels) > MAX_LABELS:
        raise InvalidRequestError(f"{len(labels)} labels are too many: send at most {MAX_LABELS}")
    for label in labels:
        if not label.strip() or len(label) > MAX_LABEL_LENGTH:
            raise InvalidRequestError(
                f"candidate label {label[:40]!r} can't be used: write 1 to {MAX_LABEL_LENGTH} characters", label=label
            )
