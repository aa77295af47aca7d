import random
from collections import Counter

import pytest

from framemesh.datasets.recipes import Split
from framemesh.datasets.splitting import Splitter
from framemesh.frames import NANOSECONDS

MINUTE_NS = 60 * NANOSECONDS
START_NS = 1_790_000_000 * NANOSECONDS


@pytest.mark.parametrize("group_seconds", [60, 120, 3600])
def test_no_minute_of_a_camera_is_in_two_splits(group_seconds: int) -> None:
    splitter = Splitter(Split(group_seconds=group_seconds))
    places: dict[tuple[str, int], set[str]] = {}
    chance = random.Random(3)  # noqa: S311 - no secret
    for _ in range(50_000):
        camera, time = chance.choice(["gate", "yard"]), START_NS + chance.randrange(600 * MINUTE_NS)
        if (place := splitter.place(camera, time)) is not None:
            places.setdefault((camera, time // MINUTE_NS), set()).add(place)
    assert len(places) > 1000
    assert all(len(found) == 1 for found in places.values())


def test_between_frames_of_a_camera_in_different_splits_lies_the_gap() -> None:
    splitter = Splitter(Split(train=0.5, validation=0.25, test=0.25, gap_seconds=2))
    step = NANOSECONDS // 10
    last: tuple[int, str] | None = None
    left_out = borders = 0
    for time in range(START_NS, START_NS + 100 * MINUTE_NS, step):
        place = splitter.place("gate", time)
        if place is None:
            left_out += 1
            continue
        if last is not None and last[1] != place:
            borders += 1
            assert time - last[0] > 2 * NANOSECONDS
        last = (time, place)
    assert borders > 20
    assert left_out == 20 * borders


def test_shares_come_out_as_asked() -> None:
    splitter = Splitter(Split(train=0.7, validation=0.1, test=0.2, gap_seconds=0))
    counts = Counter(splitter.place("gate", START_NS + minute * MINUTE_NS) for minute in range(20_000))
    assert {name: round(count / 20_000, 1) for name, count in counts.items()} == {
        "train": 0.7, "validation": 0.1, "test": 0.2,
    }  # fmt: skip


def test_a_share_of_nothing_gets_nothing() -> None:
    splitter = Splitter(Split(train=1, validation=0, test=0))
    assert {splitter.place("gate", START_NS + minute * MINUTE_NS) for minute in range(1000)} == {"train"}
    splitter = Splitter(Split(train=0, validation=0, test=1))
    assert {splitter.place("gate", START_NS + minute * MINUTE_NS) for minute in range(1000)} == {"test"}


def test_a_split_is_the_same_each_time_and_another_for_another_seed() -> None:
    def dealt(seed: int) -> list[str | None]:
        splitter = Splitter(Split(seed=seed))
        return [splitter.place(camera, START_NS + minute * MINUTE_NS) for camera in "ab" for minute in range(100)]

    assert dealt(0) == dealt(0)
    assert dealt(0) != dealt(1)
    assert dealt(0)[:100] != dealt(0)[100:]
    assert Splitter(Split()).place("gate", START_NS) == "test"  # on every machine, for ever
