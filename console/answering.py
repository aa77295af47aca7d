"""Answers in words, for the pages that show them beside a picture."""

from nicegui import ui

from console.texts import Translate
from framemesh.v1.answer_pb2 import InferenceTiming, ModelAnswer
from framemesh.words import span, words

_LINES = 12


def answer_in_words(answer: ModelAnswer, translate: Translate) -> None:
    """What a model says, line by line, each with a bar as long as its score; or why it says nothing."""
    if answer.HasField("error"):
        with ui.element("div").classes("fm-answer-error").props("role=alert"):
            ui.icon("error_outline").props("aria-hidden=true")
            for what, _ in words(answer):
                ui.label(what).classes("fm-break")
        return
    lines = words(answer)
    with ui.element("ul").classes("fm-words"):
        for what, score in lines[:_LINES]:
            with ui.element("li"):
                ui.label(translate("nothing") if what == "nothing" and not score else what).classes("fm-break")
                if score:
                    ui.label(score).classes("fm-number fm-muted")
                    share = min(max(float(score), 0.0), 1.0)
                    ui.element("div").classes("fm-score").props("aria-hidden=true").style(f"--fm-share: {share:.3f}")
    if len(lines) > _LINES:
        ui.label(translate("and {count} more", count=len(lines) - _LINES)).classes("fm-muted fm-small")


def inference_time(answer: ModelAnswer) -> str:
    """How long the model itself took, such as `15 ms`; empty where it gave no answer."""
    return span(answer.timing.inference_duration.ToNanoseconds() / 1e9) if answer.HasField("timing") else ""


def server_time(timing: InferenceTiming) -> float:
    """Seconds that the model's server spent on an image: waiting, decoding, running, and making the answer."""
    parts = (timing.queue_duration, timing.preprocess_duration, timing.inference_duration, timing.postprocess_duration)
    return sum(part.ToNanoseconds() for part in parts) / 1e9
