"""Comparisons of real tables: figures are checked against what numpy makes of the same answers."""

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from framemesh.cli import app
from framemesh.comparing import Comparison, Side, Task, answering, compare
from framemesh.errors import FrameNotFoundError, InvalidRequestError, ModelNotFoundError
from framemesh.lake import Lake
from framemesh.mesh.joining import MeshState, write_state
from framemesh.mesh.servers import free_port
from framemesh.query import LakePlace, tables
from framemesh.telemetry.page import new_registry, serving_page
from framemesh.v1.answer_pb2 import Answer, Embedding, Text
from model_server.metrics import ModelServerMetrics
from tests.framemesh.comparing.conftest import Fill
from tests.framemesh.comparing.said import Reply, Word, classes, frame, objects
from tests.pictures import jpeg

CAMERAS, MINUTES, FRAMES = ("gate", "yard"), 70, 5  # of a minute; more than an hour, which is a folder
NAMES = np.array(["cat", "dog", "fox", "<b>owl</b>|`x`"])
SINCE, UNTIL = datetime(2026, 9, 21, tzinfo=UTC), datetime(2026, 9, 22, tzinfo=UTC)
CHANCE = np.random.default_rng(11)
SHAPE = (len(CAMERAS), MINUTES, FRAMES)
# What is seen changes by the minute; the new model takes some dogs for foxes, mostly in the yard.
TRUE = np.repeat(CHANCE.integers(0, 4, SHAPE[:2])[..., None], FRAMES, axis=2)
ALIKE = np.repeat(CHANCE.random(SHAPE[:2])[..., None], FRAMES, axis=2) * 0.7 + CHANCE.random(SHAPE) * 0.3
OLD = np.where(ALIKE > 0.85, (TRUE + 1) % 4, TRUE)
NEW = np.where((TRUE == 1) & (np.array([0.5, 0.15])[:, None, None] < ALIKE), 2, TRUE)
SCORE_OLD, SCORE_NEW = (
    CHANCE.uniform(0.4, 1, SHAPE).astype(np.float32),
    CHANCE.uniform(0.3, 1, SHAPE).astype(np.float32),
)
LATENCY = CHANCE.lognormal(-3, 0.7, SHAPE)
CORRECTED = CHANCE.random(SHAPE) < 0.4


def second(minute: int, number: int) -> float:
    return minute * 60 + number * 11


def answers(model: str, said: np.ndarray, scores: np.ndarray, **options: Any) -> list[Reply]:
    return [
        Reply(
            model,
            CAMERAS[camera],
            second(minute, number),
            classes((str(NAMES[said[camera, minute, number]]), float(scores[camera, minute, number])), ("ant", 0.01)),
            latency_seconds=float(LATENCY[camera, minute, number]),
            **options,
        )
        for camera, minute, number in np.ndindex(SHAPE)
    ]


@pytest.fixture(scope="module")
async def filled(fill: Fill, place: LakePlace) -> LakePlace:
    """What two models said of every frame and people of some, and a few special cases."""
    box, near, far = (10, 10, 50, 50), (12, 10, 52, 50), (200, 200, 260, 260)
    said: list[Reply | Word] = [
        *answers("old", OLD, SCORE_OLD),
        *answers("new", NEW, SCORE_NEW, shadow=True, age_seconds=0.4),
        *(
            Word(CAMERAS[camera], second(minute, number), str(NAMES[TRUE[camera, minute, number]]))
            for camera, minute, number in np.argwhere(CORRECTED)
        ),
        # A model that was replaced: the older version's rows are still there.
        *(Reply("rolled", "gate", number, classes(("cat", 0.5)), version="aaa1", replayed=True) for number in range(9)),
        *(
            Reply("rolled", "gate", number, classes(("cat" if number % 3 else "dog", 0.5)), "bbb2", age_seconds=9)
            for number in range(9)
        ),
        # Detectors, one of which sees nothing in the first frame.
        Reply("boxes", "gate", 0, objects(("car", 0.9, box), ("cat", 0.8, far))),
        Reply("others", "gate", 0, objects()),
        Reply("boxes", "gate", 70, objects(("car", 0.9, box), ("car", 0.2, far))),
        Reply("others", "gate", 70, objects(("Car", 0.7, near))),
        Word("gate", 70, [("car", box)]),
        Reply("boxes", "gate", 140, None),
        Reply("others", "gate", 140, objects()),
        Reply("words", "yard", 0, Answer(text=Text(text="a cat"))),
        Reply("vectors", "yard", 0, Answer(embedding=Embedding(values=[1, 2, 3]))),
        Reply("vectors-half", "yard", 0, Answer(embedding=Embedding(values=[1, 2, 3.01])), replayed=True),
        Reply("short-vectors", "yard", 0, Answer(embedding=Embedding(values=[1, 2]))),
        Reply("foreign", "yard", 0, classes(("n02123045", 0.9))),
        Reply("elsewhere", "yard", 9 * 3600, classes(("cat", 0.9))),
        # One that is a classifier now.
        Reply("changed", "gate", second(1, 1), objects(("car", 0.9, box))),
        Reply("changed", "gate", second(65, 0), classes(("cat", 0.5))),
    ]
    await fill(said)
    return place


def compared(place: LakePlace, a: str, b: str, **options: Any) -> Comparison:
    with tables(place) as lake:
        return compare(lake, Side.parse(a), Side.parse(b), **{"since": SINCE, "until": UNTIL, **options})


@pytest.fixture(scope="module")
def found(filled: LakePlace) -> Comparison:
    return compared(filled, "old", "new")


def test_shadows_are_among_those_that_can_be_compared(filled: LakePlace) -> None:
    with tables(filled) as lake:
        assert lake.shadows == ["new"]
        assert {"new", "old"} <= set(answering(lake))


def test_every_frame_that_both_answered_is_compared_once(found: Comparison) -> None:
    assert (found.task, found.pairs, found.compared) == (Task.CLASSIFICATION, OLD.size, OLD.size)
    assert found.agreement.value == pytest.approx((OLD == NEW).mean())
    assert found.disagreeing == (OLD != NEW).sum()
    assert (found.agreement.clusters, found.agreement.count) == (2 * MINUTES, OLD.size)
    assert found.agreement.effective_count < OLD.size / 2  # a minute's frames are nearly one
    assert found.agreement.low < found.agreement.value < found.agreement.high
    assert (found.a.shadow, found.b.shadow) == (False, True)
    assert found.first_time == frame("gate", 0).capture_time.ToDatetime(UTC)
    assert found.last_time == frame("gate", second(MINUTES - 1, FRAMES - 1)).capture_time.ToDatetime(UTC)


def test_classes_are_told_with_their_differences_between_camera_minutes(found: Comparison) -> None:
    by_label = {facts.label: facts for facts in found.classes}
    assert set(by_label) == set(NAMES)
    chances = []
    for number, name in enumerate(NAMES):
        facts = by_label[str(name)]
        old, new = np.equal(OLD, number), np.equal(NEW, number)
        assert (facts.a, facts.b, facts.both) == (old.sum(), new.sum(), (old & new).sum())
        differences = (old.astype(float) - new).mean(axis=2).ravel()  # all minutes are as large
        assert facts.difference.value == pytest.approx(differences.mean())
        expected = stats.ttest_1samp(differences, 0).confidence_interval()
        assert (facts.difference.low, facts.difference.high) == pytest.approx((expected.low, expected.high))
        chances.append(stats.ttest_1samp(differences, 0).pvalue)
        assert facts.score_a == pytest.approx(SCORE_OLD[old].mean(), rel=1e-5)
    adjusted = stats.false_discovery_control(chances, method="by")
    assert [by_label[str(name)].p_adjusted for name in NAMES] == pytest.approx(list(adjusted))
    assert by_label["fox"].p_adjusted < 0.01 < found.classes[-1].p_adjusted


def test_the_camera_that_agrees_less_comes_first(found: Comparison) -> None:
    assert [facts.camera for facts in found.cameras_found] == ["yard", "gate"]
    for facts in found.cameras_found:
        own = CAMERAS.index(facts.camera)
        assert facts.agreement.value == pytest.approx((OLD[own] == NEW[own]).mean())
        assert facts.score_difference is not None
        assert facts.score_difference.value == pytest.approx((SCORE_OLD[own] - SCORE_NEW[own]).mean(), abs=1e-6)
    shares = (OLD == NEW).mean(axis=2)
    one = stats.ttest_ind(shares[1], shares[0], equal_var=False).pvalue
    assert found.cameras_found[0].p_adjusted == pytest.approx(min(1, one * 1.5))  # of two alike tests, 1 + 1/2


def test_confusions_are_counted(found: Comparison) -> None:
    pairs = Counter((str(NAMES[a]), str(NAMES[b])) for a, b in zip(OLD.ravel(), NEW.ravel(), strict=True) if a != b)
    assert {(each.label_a, each.label_b): each.count for each in found.confusion} == pairs
    assert [each.count for each in found.confusion] == sorted(pairs.values(), reverse=True)


def test_who_is_right_is_told_by_what_people_say(found: Comparison) -> None:
    right_old, right_new = (OLD == TRUE)[CORRECTED], (NEW == TRUE)[CORRECTED]
    accuracy = found.accuracy
    assert accuracy is not None
    assert accuracy.frames == CORRECTED.sum()
    assert (accuracy.a.value, accuracy.b.value) == pytest.approx((right_old.mean(), right_new.mean()))
    assert accuracy.only_a == (right_old & ~right_new).sum()
    assert accuracy.only_b == (right_new & ~right_old).sum()
    several = accuracy.only_a + accuracy.only_b
    assert accuracy.p_mcnemar == pytest.approx(stats.binomtest(accuracy.only_a, several).pvalue)
    difference = (OLD == TRUE).astype(int) - (NEW == TRUE)
    y, n = (difference * CORRECTED).sum(axis=2).ravel(), CORRECTED.sum(axis=2).ravel()
    y, n = y[n > 0], n[n > 0]
    value = y.sum() / n.sum()
    error = np.sqrt(len(n) / (len(n) - 1) * ((y - value * n) ** 2).sum()) / n.sum()
    assert accuracy.difference.value == pytest.approx(value)
    assert accuracy.difference.high == pytest.approx(value + stats.t.ppf(0.975, len(n) - 1) * error)
    assert accuracy.p_clusters == pytest.approx(2 * stats.t.sf(abs(value / error), len(n) - 1))
    assert accuracy.overconfidence_a is not None
    assert accuracy.overconfidence_a.value == pytest.approx((SCORE_OLD[CORRECTED] - right_old).mean(), abs=1e-6)
    scores, bins = SCORE_OLD[CORRECTED], (SCORE_OLD[CORRECTED] * 10).astype(int)
    gaps = [abs((scores - right_old)[bins == each].sum()) for each in range(11)]
    assert accuracy.calibration_a == pytest.approx(sum(gaps) / len(scores), abs=1e-6)
    for facts in found.classes:
        own = (NAMES[TRUE] == facts.label) & CORRECTED
        assert (facts.corrected, facts.right_a) == (own.sum(), (own & (OLD == TRUE)).sum())


def test_latency_is_told_within_a_hundredth_and_age_beside_it(found: Comparison) -> None:
    for side, age in ((found.a, 0.2), (found.b, 0.4)):
        assert side.latency is not None
        assert side.latency.p50 == pytest.approx(np.quantile(LATENCY, 0.5, method="inverted_cdf"), rel=0.011)
        assert side.latency.p99 == pytest.approx(np.quantile(LATENCY, 0.99, method="inverted_cdf"), rel=0.011)
        assert side.inference is not None
        assert side.inference.p50 == pytest.approx(side.latency.p50 / 2, rel=0.021)
        assert side.staleness is not None
        assert side.staleness.p99 == pytest.approx(age, rel=0.011)


def test_of_alike_disagreements_in_a_minute_the_surest_is_shown_for_all(filled: LakePlace, found: Comparison) -> None:
    differ = OLD != NEW
    kinds = {(c, m, int(OLD[c, m, n]), int(NEW[c, m, n])) for c, m, n in np.argwhere(differ)}
    assert len(found.disagreements) == min(50, len(kinds))
    sureness = np.where(differ, np.minimum(SCORE_OLD, SCORE_NEW), 0)
    first = found.disagreements[0]
    assert min(first.score_a or 0, first.score_b or 0) == pytest.approx(sureness.max())
    every = compared(filled, "old", "new", limit=1000).disagreements
    assert len(every) == len(kinds)
    assert sum(each.frames for each in every) == differ.sum()
    assert every[:50] == found.disagreements


def test_cameras_and_times_narrow_it_down(filled: LakePlace) -> None:
    until = frame("gate", second(9, FRAMES)).capture_time.ToDatetime(UTC)
    few = compared(filled, "old", "new", cameras=["yard"], until=until)
    assert few.compared == 10 * FRAMES
    assert few.agreement.value == pytest.approx((OLD == NEW)[1, :10].mean())


def test_an_even_sample_is_the_same_frames_each_time_and_is_told(filled: LakePlace) -> None:
    sample, again = (compared(filled, "old", "new", max_frames=200) for _ in "ab")
    assert sample == again
    assert 120 < sample.compared < 280
    assert f"{sample.compared} of the {OLD.size} frames" in " ".join(sample.notes)
    with pytest.raises(InvalidRequestError, match="too few to draw"):
        compared(filled, "rolled@aaa", "rolled@bbb", max_frames=1, until=frame("gate", 1).capture_time.ToDatetime(UTC))


def test_versions_of_one_model_are_compared_by_the_rows_that_are_no_longer_the_newest(filled: LakePlace) -> None:
    found = compared(filled, "rolled@aaa", "rolled@bbb2")
    assert (found.compared, found.disagreeing) == (9, 3)
    assert (found.a.versions, found.b.versions) == ({"aaa1": 9}, {"bbb2": 9})
    assert found.a.staleness is None
    assert any("replayed" in note for note in found.notes)
    assert compared(filled, "rolled", "old").a.versions == {"bbb2": 1}
    with pytest.raises(InvalidRequestError, match="compared with itself"):
        compared(filled, "rolled", "rolled")


def test_detectors_are_compared_object_by_object(filled: LakePlace) -> None:
    found = compared(filled, "boxes", "others")
    assert (found.task, found.compared, found.b.alone, found.a.failed) == (Task.DETECTION, 2, 1, 1)
    measures = {each.name: each.estimate.value for each in found.measures}
    assert measures == {"precision": 0.25, "recall": 1, "overlap": pytest.approx(38 / 42)}
    assert {(each.label_a, each.label_b, each.count) for each in found.confusion} == {("car", "", 2), ("cat", "", 1)}
    assert found.disagreements[0].a == "car, cat"
    assert found.disagreements[0].b == "nothing"
    sure = compared(filled, "boxes", "others", min_score=0.5)
    assert {each.name: each.estimate.value for each in sure.measures}["precision"] == pytest.approx(1 / 3)
    assert sure.accuracy is not None
    assert (sure.accuracy.frames, sure.accuracy.a.value, sure.accuracy.b.value) == (1, 1, 1)
    assert sure.accuracy.calibration_a is None
    surest = compared(filled, "boxes", "others", min_score=0.85)
    assert {(each.a, each.b) for each in surest.disagreements} == {("car", "nothing")}


def test_one_frame_says_little_and_says_so(filled: LakePlace) -> None:
    found = compared(filled, "vectors", "vectors-half")
    assert found.compared == found.agreement.value == 1
    assert found.agreement.low < 0.3
    assert "one camera-minute" in found.notes[0]
    assert any("different spaces" in note or "lie in different spaces" in note for note in found.notes)


def test_models_whose_classes_have_no_name_in_common_are_told(filled: LakePlace) -> None:
    found = compared(filled, "foreign", "old")
    assert found.agreement.value == 0
    assert any("No class is named by both" in note for note in found.notes)


@pytest.mark.parametrize(
    ("a", "b", "error", "words"),
    [
        ("old", "newest", ModelNotFoundError, r"'newest'; it has those of: .*boxes, .*new, old, "),
        ("old", "elsewhere", FrameNotFoundError, "elsewhere 1; .* framemesh replay --model elsewhere"),
        ("old", "new@ffff", FrameNotFoundError, "new@ffff 0"),
        ("old", "words", InvalidRequestError, "old gives answers of classification and words of text"),
        ("vectors", "short-vectors", InvalidRequestError, "3 values and B's 2"),
        ("old", "changed", InvalidRequestError, "is no classification: the model had another task then"),
    ],
)
def test_what_can_not_be_compared_is_said(
    filled: LakePlace, a: str, b: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        compared(filled, a, b)


def test_a_comparison_ends_where_whoever_is_told_of_it_wants_it_to(filled: LakePlace) -> None:
    told: list[tuple[int, int]] = []

    def enough(done: int, total: int) -> None:
        told.append((done, total))
        if done:
            raise TimeoutError

    with tables(filled) as lake:
        with pytest.raises(TimeoutError):
            compare(lake, Side("old"), Side("new"), since=SINCE, until=UNTIL, on_progress=enough)
        assert told[-1] == (256, OLD.size)
        assert lake.ask("SELECT count(*) FROM shadows").rows == [(OLD.size,)]


@pytest.fixture
def run(filled: LakePlace, tmp_path: Path) -> Callable[..., str]:
    """Run the command on the lake, and return what it printed."""
    env = {
        "FRAMEMESH_S3_ENDPOINT": filled.endpoint,
        "FRAMEMESH_S3_ACCESS_KEY": filled.access_key,
        "FRAMEMESH_S3_SECRET_KEY": filled.secret_key,
        "COLUMNS": "160",
    }

    def invoke(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["compare", *arguments, "--data-dir", str(tmp_path)], env=env)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.stdout or done.stderr

    return invoke


def test_the_command_prints_tables_or_json(run: Callable[..., str], found: Comparison) -> None:
    shown = run("old", "new", "--since", "2026-09-21", "--limit", "3")
    assert shown.startswith(f"old and new agree on {100 * found.agreement.value:.1f} % (")
    for words in ("B: new (shadow)", "Against what people say", "fox", "yard", "as much as", "McNemar"):
        assert words in shown
    assert sum(line.startswith(("gate/2026", "yard/2026")) for line in shown.splitlines()) == 3
    document = json.loads(run("old", "new", "--json"))
    assert document["agreement"]["value"] == pytest.approx(found.agreement.value)
    assert document["first_time"] == "2026-09-21T14:14:00Z"
    assert json.loads(run("vectors", "vectors-half", "--json"))["measures"][0]["estimate"]["low"] is None
    assert "no report's name" in run("old", "new", "--report", "page.pdf")
    assert "there is no folder" in run("old", "new", "--report", "nowhere/page.md")
    with pytest.raises(FrameNotFoundError, match="camera 'attic'"):
        run("old", "new", "--camera", "attic")


async def test_a_mesh_that_runs_tells_what_its_servers_have_used_of_the_cpu(
    run: Callable[..., str], filled: LakePlace, tmp_path: Path
) -> None:
    registry = new_registry()
    metrics = ModelServerMetrics(registry)
    for model, calls in (("old", 3), ("old-er", 5)):
        for _ in range(calls):
            with metrics.counting(model, math.inf):
                pass
    async with serving_page("127.0.0.1:0", registry, {}) as port:
        page, nowhere = f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}"
        http = {"model-old-0": page, "model-old-1": nowhere, "model-old-er-0": page, "model-new-0": nowhere}
        keys = filled.endpoint, filled.access_key, filled.secret_key
        write_state(tmp_path, MeshState("127.0.0.1:1", "", *keys, http=http, processes={}))
        found = json.loads(await asyncio.to_thread(run, "old", "new", "--json"))
        shown = await asyncio.to_thread(run, "old", "new")
    assert found["a"]["cpu"]["answers"] == 3
    assert found["a"]["cpu"]["cpu_seconds"] > 0
    assert found["b"]["cpu"] is None
    assert "CPU for each answer" in shown


async def test_a_report_has_pictures_of_the_frames_that_are_still_there(
    run: Callable[..., str], found: Comparison, lake: Lake, tmp_path: Path
) -> None:
    there, damaged, *_ = found.disagreements
    await lake.put(there.object_key, jpeg(3, (1280, 720)), content_type="image/jpeg", metadata={})
    await lake.put(damaged.object_key, b"\xff\xd8 no picture", content_type="image/jpeg", metadata={})
    page, notes = tmp_path / "report.html", tmp_path / "report.md"
    run("old", "new", "--report", str(page), "--console", "http://console:8000/")
    html = page.read_text()
    assert html.count("data:image/jpeg;base64,") == 1
    assert html.count("no picture") == 19
    assert f'<a href="http://console:8000/lake/{there.frame_id}">' in html
    assert "&lt;b&gt;owl&lt;/b&gt;|`x`" in html
    assert "<b>" not in html
    assert not re.findall(r'(?:src|href)="(?!data:|http://console:8000/lake/)', html)
    assert "<script" not in html
    run("old", "new", "--report", str(notes))
    (picture,) = (tmp_path / "report.pictures").iterdir()
    assert picture.name == f"{there.frame_id}.jpg"
    text = notes.read_text()
    assert f"![](report.pictures/{picture.name})" in text
    assert r"\<b\>owl\</b\>\|\`x\`" in text
    assert "<b>" not in text
