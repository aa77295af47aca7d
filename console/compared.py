"""A comparison of two models as elements: how often they agree, where they don't, and what each costs."""

import math
from collections.abc import Iterator, Sequence

from nicegui import ui

from console.parts import heading
from console.pictures import THUMBNAILS, name_in
from console.searching import LAKE
from console.texts import Translate
from console.texts.messages import in_language
from framemesh.comparing import Comparison
from framemesh.comparing.comparison import Accuracy, CameraFacts, Disagreement, Estimate, Seconds, SideFacts
from framemesh.words import printable, span

_CAMERAS = 20
_CONFUSIONS = 8


def show(found: Comparison, _t: Translate) -> None:
    """The whole comparison, at the current element."""
    for note in found.notes:
        with ui.element("div").classes("fm-note"):
            ui.icon("info").props("aria-hidden=true")
            ui.label(printable(in_language(note, _t))).classes("fm-break")
    with ui.element("div").classes("fm-compared"):
        _agreement(found, _t)
        _sides(found, _t)
        with ui.element("div").classes("fm-stack"):
            _cameras(found.cameras_found, _t)
            _confusions(found, _t)
    _disagreements(found, _t)


def _agreement(found: Comparison, _t: Translate) -> None:
    with ui.element("section").classes("fm-card fm-stack"):
        heading(_t("Agreement"))
        ui.label(f"{found.agreement.value:.1%}").classes("fm-figure")
        ui.label(_interval(found.agreement, _t)).classes("fm-muted")
        facts = _t(
            "{compared} of {pairs} frames that both answered; they differ on {differ}.",
            compared=f"{found.compared:,}", pairs=f"{found.pairs:,}", differ=f"{found.disagreeing:,}",
        )  # fmt: skip
        ui.label(facts)
        ui.label(printable(in_language(found.rule, _t))).classes("fm-muted fm-small")
        for measure in found.measures:
            with ui.element("div").classes("fm-measure fm-small"):
                ui.label(in_language(measure.meaning, _t)).classes("fm-muted")
                ui.label(f"{measure.estimate.value:.3f}").classes("fm-number fm-strong")
        if found.accuracy is not None:
            _accuracy(found, found.accuracy, _t)


def _accuracy(found: Comparison, accuracy: Accuracy, _t: Translate) -> None:
    heading(_t("Against {frames} corrected frames", frames=f"{accuracy.frames:,}"), level=3)
    for side, share in ((found.a, accuracy.a), (found.b, accuracy.b)):
        with ui.element("div").classes("fm-row fm-spread"):
            ui.label(_t("{model} is right", model=str(side.side)))
            ui.label(f"{share.value:.1%}").classes("fm-number fm-strong")


def _sides(found: Comparison, _t: Translate) -> None:
    with ui.element("section").classes("fm-card fm-stack"):
        heading(_t("Side by side"))
        with ui.element("table").classes("fm-table"):
            with ui.element("thead"), ui.element("tr"):
                with ui.element("td"):
                    pass
                for side in (found.a, found.b):
                    with ui.element("th").props("scope=col"):
                        ui.label(str(side.side)).classes("fm-break")
            with ui.element("tbody"):
                for name, of_a, of_b in _rows(found.a, found.b, _t):
                    with ui.element("tr"):
                        with ui.element("th").props("scope=row"):
                            ui.label(name)
                        for value in (of_a, of_b):
                            with ui.element("td").classes("fm-number"):
                                ui.label(value)


def _rows(a: SideFacts, b: SideFacts, _t: Translate) -> Iterator[tuple[str, str, str]]:
    """What the table says of each side, where either has something to say."""
    yield _t("Frames answered"), f"{a.answered:,}", f"{b.answered:,}"
    yield _t("Frames failed"), f"{a.failed:,}", f"{b.failed:,}"
    yield _t("Answered alone"), f"{a.alone:,}", f"{b.alone:,}"
    for name, of_a, of_b in (
        (_t("Latency, p50 and p99"), a.latency, b.latency),
        (_t("Inference, p50 and p99"), a.inference, b.inference),
        (_t("Age of the answer, p50 and p99"), a.staleness, b.staleness),
    ):
        if of_a or of_b:
            yield name, _quantiles(of_a), _quantiles(of_b)
    if a.mean_score is not None or b.mean_score is not None:
        yield _t("Mean score"), _score(a.mean_score), _score(b.mean_score)
    if a.cpu or b.cpu:
        yield _t("CPU for each answer"), _cpu(a), _cpu(b)


def _cameras(cameras: Sequence[CameraFacts], _t: Translate) -> None:
    with ui.element("section").classes("fm-card fm-stack"):
        heading(_t("By camera"))
        with ui.element("ul").classes("fm-words"):
            for camera in cameras[:_CAMERAS]:
                with ui.element("li"):
                    ui.label(camera.camera).classes("fm-strong")
                    said = _t(
                        "{share} of {frames} frames", share=f"{camera.agreement.value:.1%}", frames=f"{camera.frames:,}"
                    )
                    ui.label(said).classes("fm-number fm-muted")
                    bar = ui.element("div").classes("fm-score").props("aria-hidden=true")
                    bar.style(f"--fm-share: {camera.agreement.value:.3f}")
        if len(cameras) > _CAMERAS:
            ui.label(_t("These agree least, of {count}.", count=len(cameras))).classes("fm-muted fm-small")


def _confusions(found: Comparison, _t: Translate) -> None:
    if not found.confusion:
        return
    with ui.element("section").classes("fm-card fm-stack"):
        a, b = str(found.a.side), str(found.b.side)
        heading(_t("What {a} says, and {b} instead", a=a, b=b))
        with ui.element("ol").classes("fm-confusions"):
            for one in found.confusion[:_CONFUSIONS]:
                with ui.element("li"):
                    ui.label(printable(one.label_a) or _t("nothing")).classes("fm-break")
                    ui.icon("arrow_forward").props("aria-hidden=true")
                    ui.label(printable(one.label_b) or _t("nothing")).classes("fm-break")
                    ui.label(f"{one.count:,}").classes("fm-number fm-muted")


def _disagreements(found: Comparison, _t: Translate) -> None:
    heading(_t("Where they disagree"))
    if not found.disagreements:
        ui.label(_t("Nowhere in these frames.")).classes("fm-muted")
        return
    with ui.element("ul").classes("fm-frames"):
        for one in found.disagreements:
            _disagreement(one, found, _t)


def _disagreement(one: Disagreement, found: Comparison, _t: Translate) -> None:
    a, b = str(found.a.side), str(found.b.side)
    with ui.element("li"), ui.element("a").classes("fm-frame") as link:
        link.props["href"] = f"{LAKE}/{one.frame_id}"
        image = ui.element("img").props("loading=lazy decoding=async width=320 height=180")
        image.props["src"] = f"{THUMBNAILS}/{name_in(one.object_key)}"
        image.props["alt"] = _t(
            "{camera}, {time}: {a} says {said_a}, {b} says {said_b}",
            camera=one.camera, time=f"{one.capture_time:%Y-%m-%d %H:%M:%S} UTC",
            a=a, said_a=printable(one.a), b=b, said_b=printable(one.b),
        )  # fmt: skip
        with ui.element("dl").classes("fm-disagree"):
            for model, said, score in ((a, one.a, one.score_a), (b, one.b, one.score_b)):
                with ui.element("dt"):
                    ui.label(model)
                with ui.element("dd"):
                    ui.label(printable(said)).classes("fm-break")
                    if score is not None:
                        ui.label(f"{score:.2f}").classes("fm-muted fm-number")
            if one.corrected is not None:
                with ui.element("dt"):
                    ui.label(_t("people"))
                with ui.element("dd"):
                    ui.label(printable(one.corrected)).classes("fm-break")
        with ui.element("div").classes("fm-frame-caption"):
            ui.label(one.camera).classes("fm-strong")
            like = _t("{frames} such frames that minute", frames=one.frames) if one.frames > 1 else ""
            ui.label(like or f"{one.capture_time:%Y-%m-%d %H:%M:%S}").classes("fm-muted fm-small fm-number")


def _interval(estimate: Estimate, _t: Translate) -> str:
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return _t("too few minutes of video to say how sure that is")
    return _t("between {low} and {high}, at 95%", low=f"{estimate.low:.1%}", high=f"{estimate.high:.1%}")


def _quantiles(seconds: Seconds | None) -> str:
    return f"{span(seconds.p50)} · {span(seconds.p99)}" if seconds else "-"


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"


def _cpu(side: SideFacts) -> str:
    return span(side.cpu.cpu_seconds / side.cpu.answers) if side.cpu and side.cpu.answers else "-"
