"""Which frames a recipe means, and with which labels, asked of a real lake."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from framemesh.datasets.choosing import Choosing, Chosen, EmptyDatasetError
from framemesh.datasets.recipes import Choice, Recipe, Split
from framemesh.datasets.reports import Document, dump, parse
from framemesh.errors import FrameNotFoundError, InvalidRequestError, ModelNotFoundError
from framemesh.query import tables
from tests.framemesh.datasets.conftest import AS_OF, BOX, COUNT, NOON, MadeLake, recipe


def chosen(lake: MadeLake, wanted: Recipe) -> list[Chosen]:
    with tables(lake.place, as_of=wanted.as_of) as found:
        choosing = Choosing(found, wanted.checked())
        frames = list(choosing.frames())
        assert choosing.count == len(frames)
        named = {each.label for each in frames if each.label} | {one.name for each in frames for one in each.objects}
        assert set(choosing.classes) == named
        return frames


@pytest.mark.parametrize(
    ("fields", "count", "all_are"),
    [
        ({"cameras": ("test",)}, COUNT // 2, lambda frame: frame.camera == "test"),
        ({"since": NOON + timedelta(minutes=1), "until": NOON + timedelta(minutes=2)}, 14, lambda frame: True),
        ({"only": ("cat", "wolf")}, 40, lambda frame: frame.label in {"cat", "wolf"}),
        ({"labels": "results"}, COUNT, lambda frame: (frame.label_source, frame.model_version) == ("model", "v1")),
        ({}, COUNT, lambda frame: (frame.label == "wolf") == (frame.label_source == "correction")),
        ({"labels": "corrections", "model": ""}, 4, lambda frame: (frame.label, frame.score) == ("wolf", 1)),
        ({"labels": "corrections", "max_score": 0.5}, 4, lambda frame: frame.label == "wolf"),
        ({"labels": "results", "min_score": 0.9}, 24, lambda frame: frame.score > 0.89),
        ({"min_score": 0.9}, 28, lambda frame: frame.score > 0.89),
        ({"labels": "results", "max_score": 0.5}, 12, lambda frame: frame.score <= 0.5),
        ({"labels": "none", "max_score": 0.5}, 12, lambda frame: (frame.label, frame.label_source) == ("", "")),
        ({"labels": "none", "model": "", "only": ()}, COUNT, lambda frame: not frame.label),
        ({"disagrees_with": "detr", "labels": "results"}, COUNT, lambda frame: True),
        ({"disagrees_with": "vit", "labels": "results"}, 0, lambda frame: True),
        ({"every_seconds": 60}, 20, lambda frame: frame.captured_ns // 10**9 % 60 == 0),
        ({"labels": "none", "model": "", "query": "SELECT frame_id FROM frames WHERE camera = 'gate' LIMIT 7"}, 7,
         lambda frame: frame.camera == "gate"),
        ({"labels": "query", "model": "", "query": "SELECT frame_id, 'x' || camera AS label FROM frames; "}, COUNT,
         lambda frame: (frame.label, frame.label_source) == (f"x{frame.camera}", "query")),
        ({"query": "SELECT frame_id FROM results WHERE label = 'fox' AND answer_time < now() -- and so on"}, 40,
         lambda frame: frame.label == "fox"),
        ({"task": "object-detection", "model": "detr"}, COUNT, lambda frame: len(frame.objects) <= 1),
        ({"task": "object-detection", "model": "detr", "only": ("van",)}, 4,
         lambda frame: frame.objects[0].y_max == BOX["y_max_px"]),
        ({"task": "object-detection", "model": "detr", "labels": "results", "min_score": 0.7}, COUNT // 2,
         lambda frame: frame.objects[0].name == "car"),
    ],
)  # fmt: skip
def test_frames_are_chosen(
    lake: MadeLake, fields: dict[str, Any], count: int, all_are: Callable[[Chosen], bool]
) -> None:
    if not count:
        with pytest.raises(EmptyDatasetError):
            chosen(lake, recipe(**fields))
        return
    frames = chosen(lake, recipe(**fields))
    assert len(frames) == count
    assert all(map(all_are, frames))


def test_frames_come_in_the_same_order_each_time_whatever_is_chosen(lake: MadeLake) -> None:
    whole = [frame.frame_id for frame in chosen(lake, recipe())]
    assert whole == [frame.frame_id for frame in chosen(lake, recipe())]
    part = [frame.frame_id for frame in chosen(lake, recipe(cameras=("gate",)))]
    assert part == [frame_id for frame_id in whole if frame_id.startswith("gate")]
    assert part != sorted(part)


def test_the_time_in_a_query_is_the_recipes(lake: MadeLake) -> None:
    for now in ("now()", "current_timestamp", "get_current_timestamp()"):
        query = f"SELECT frame_id FROM frames WHERE capture_time > {now} - INTERVAL 1445 MINUTE"  # noqa: S608
        then = recipe(labels="none", model="", query=query, as_of=NOON + timedelta(days=1, minutes=10))
        assert {frame.captured_ns >= _ns(minutes=5) for frame in chosen(lake, then)} == {True}
        assert len(chosen(lake, then)) == COUNT // 2 - 2
    for time in ("current_time", "localtime"):
        query = f"SELECT frame_id FROM frames WHERE ({time})::TIME = TIME '12:10'"  # noqa: S608
        then = recipe(labels="none", model="", query=query, as_of=NOON + timedelta(days=1, minutes=10))
        assert len(chosen(lake, then)) == COUNT


def _ns(*, minutes: int) -> int:
    return round((NOON + timedelta(minutes=minutes)).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"cameras": ("nobody",)}, FrameNotFoundError, "gate, test"),
        ({"model": "resnet"}, ModelNotFoundError, "no answers of model 'resnet'; it has those of: detr, vit"),
        ({"disagrees_with": "resnet"}, ModelNotFoundError, "resnet"),
        ({"only": ("unicorn",)}, EmptyDatasetError, "labels there are: dog, fox, cat, wolf"),
        ({"until": NOON - timedelta(days=1)}, EmptyDatasetError, "no frames of these cameras and times"),
        ({"labels": "corrections", "model": "", "since": NOON + timedelta(minutes=8)}, EmptyDatasetError,
         "nobody has said .* --labels none"),
        ({"query": "SELEKT"}, InvalidRequestError, "syntax error"),
        ({"query": "SELECT nonsense FROM frames"}, InvalidRequestError, "nonsense"),
        ({"query": "DROP VIEW frames"}, InvalidRequestError, "one query"),
        ({"query": "SELECT frame_id FROM frames; DROP VIEW frames"}, InvalidRequestError, "one query"),
        ({"query": "SELECT * FROM read_text('/etc/passwd')"}, InvalidRequestError, "disabled"),
        ({"query": "SELECT camera FROM frames"}, InvalidRequestError, "gives camera: it has to give frame_id"),
        ({"query": "SELECT frame_id FROM frames", "labels": "query"}, InvalidRequestError, "frame_id and label"),
        ({"query": "SELECT frame_id, unnest(['a', 'b']) AS label FROM frames", "labels": "query"}, InvalidRequestError,
         "two labels"),
        ({"task": "object-detection", "labels": "results"}, EmptyDatasetError, "is 'vit' an object detector"),
        ({"query": "SELECT 'gate-1' AS frame_id"}, EmptyDatasetError, "or of this query"),
    ],
)  # fmt: skip
def test_what_can_not_be_chosen_says_why(
    lake: MadeLake, fields: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        chosen(lake, recipe(**fields))


def test_what_a_query_gives_and_the_lake_has_not_is_counted(lake: MadeLake) -> None:
    query = "SELECT frame_id FROM frames WHERE camera = 'gate' UNION ALL SELECT 'gate-946684800000000000'"
    with tables(lake.place, as_of=AS_OF) as found:
        choosing = Choosing(found, recipe(query=query))
        assert (choosing.count, choosing.gone) == (COUNT // 2, 1)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"labels": "results", "model": ""}, "need a model"),
        ({"labels": "query"}, "need a query"),
        ({"labels": "query", "query": "x", "task": "object-detection"}, "objects come from"),
        ({"labels": "none", "model": "", "min_score": 0.5}, "by score needs a model"),
        ({"labels": "none", "model": "", "only": ("cat",)}, "by label needs"),
        ({"labels": "none", "model": "", "disagrees_with": "vit"}, "name both"),
        ({"min_score": 0.7, "max_score": 0.6}, "lesser first"),
        ({"max_score": float("nan")}, "lesser first"),
        ({"query": "x", "cameras": ("gate",)}, "by itself"),
        ({"every_seconds": -1.0}, "thin out"),
        ({"every_seconds": float("inf")}, "thin out"),
        ({"split": Split(train=0.5)}, "make 1"),
        ({"split": Split(train=1.2, validation=-0.1, test=-0.1)}, "make 1"),
        ({"split": Split(group_seconds=90)}, "whole minutes"),
        ({"split": Split(group_seconds=0)}, "whole minutes"),
        ({"split": Split(gap_seconds=60)}, "shorter"),
    ],
)
def test_a_recipe_that_contradicts_itself_says_how(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        recipe(**fields).checked()


def test_a_recipe_is_the_same_after_a_file() -> None:
    whole = recipe(cameras=("gate",), only=("b", "a"), min_score=0.25, every_seconds=0.5, split=Split(seed=7)).checked()
    assert parse(dump(Document(whole))) == Document(whole)
    assert parse(dump(Document(whole))).recipe != replace(whole, choose=Choice())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "recipe.json can't be"),
        (b"{}", "recipe"),
        (b'{"recipe": {"as_of": "yesterday", "labels": "none"}}', "as_of"),
        (b'{"recipe": {"as_of": "2026-01-01T00:00:00Z", "labels": "magic"}}', "labels"),
        (b'{"recipe": {"as_of": "2026-01-01T00:00:00Z", "labels": "results"}}', "need a model"),
        (b'{"recipe": {"as_of": "2026-01-01T00:00:00Z", "labels": "none"}, "dateset": {}}', "dateset"),
    ],
)
def test_a_file_that_is_no_recipe_says_where(text: bytes, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        parse(text)
