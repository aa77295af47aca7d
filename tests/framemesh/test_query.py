"""The lake's tables as queries see them, on files that the archiver wrote."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from archiver.app import archiver
from archiver.settings import ArchiverSettings
from framemesh.bus import Bus
from framemesh.cli import app
from framemesh.cli.times import parse_time
from framemesh.errors import ConfigurationError, FrameNotFoundError, InvalidRequestError, LakeUnavailableError
from framemesh.lake import Lake
from framemesh.mesh.servers import free_port
from framemesh.query import LakePlace, tables
from tests.archiver.conftest import answer, settings, store
from tests.stores import STORES

__all__ = ["settings"]

COUNT = 30


@pytest.fixture(scope="module", params=STORES)
def s3_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
async def place(settings: ArchiverSettings, bus: Bus) -> LakePlace:
    """A lake with three cameras' frames, and two models' answers to one of them; the newest of two counts."""
    async with archiver(settings):
        for camera in ("gate", "yard", "roof"):
            for number in range(COUNT):
                await store(bus, camera, number)
        for number in range(COUNT):
            await answer(bus, "vit", "gate", number, label="Egyptian cat", score=number / 100)
            await answer(bus, "detr", "gate", number, label="car'; DROP VIEW frames; --")
    async with archiver(settings):
        for number in range(10):
            await answer(bus, "vit", "gate", number + COUNT, label="tiger cat", score=0.9)
            await answer(bus, "vit", "gate", number, label="Egyptian cat", score=number / 100)
    return LakePlace(
        settings.s3_endpoint, settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value()
    )


@pytest.fixture
def run(place: LakePlace, tmp_path: Path) -> Callable[..., str]:
    """Run a command against the lake, and return what it printed."""
    env = {
        "FRAMEMESH_S3_ENDPOINT": place.endpoint,
        "FRAMEMESH_S3_ACCESS_KEY": place.access_key,
        "FRAMEMESH_S3_SECRET_KEY": place.secret_key,
        "COLUMNS": "250",
    }

    def invoke(*arguments: str, **terminal: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--data-dir", str(tmp_path)], env={**env, **terminal})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    return invoke


def test_each_frame_and_each_models_newest_answer_is_one_row(place: LakePlace) -> None:
    with tables(place) as lake:
        assert lake.cameras == ["gate", "roof", "yard"]
        assert lake.ask("SELECT count(*), count(DISTINCT frame_id) FROM frames").rows == [(3 * COUNT, 3 * COUNT)]
        found = lake.ask("SELECT model, count(*) FROM results GROUP BY model ORDER BY model")
        assert found.rows == [("detr", COUNT), ("vit", COUNT + 10)]
        assert lake.ask("SELECT count(*) FROM results_files").rows == [(2 * COUNT + 20,)]


def test_frames_and_results_join(place: LakePlace) -> None:
    with tables(place) as lake:
        joined = lake.ask(
            "SELECT DISTINCT f.camera, f.width_px, r.hour = f.hour AND r.date = f.date AS same FROM frames f "
            "JOIN results r USING (frame_id) WHERE r.model = $model",
            model="detr",
        )
    assert joined.rows == [("gate", 1280, True)]


def test_times_are_utc(place: LakePlace) -> None:
    with tables(place) as lake:
        found = lake.ask("SELECT min(capture_time)::VARCHAR, min(capture_time) FROM frames").rows[0]
    assert found[0].startswith("2026-09-21 14:13:20")
    assert found[1] == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "COPY frames TO '/tmp/framemesh-stolen.csv'",
        "ATTACH '/tmp/framemesh-attached.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELECT * FROM place",
        "SELECT nonsense FROM frames",
        "SELEKT",
        "",
    ],
)
def test_what_a_query_may_not_have_is_refused_in_a_line(place: LakePlace, sql: str) -> None:
    with tables(place) as lake:
        with pytest.raises(InvalidRequestError) as refusal:
            lake.ask(sql)
        assert "\n" not in str(refusal.value)
        assert lake.ask("SELECT count(*) FROM frames").rows == [(3 * COUNT,)]


def test_a_column_that_is_not_there_is_told_with_those_that_may_be_meant(place: LakePlace) -> None:
    with tables(place) as lake, pytest.raises(InvalidRequestError, match=r'"lable" not found .* "label"'):
        lake.ask("SELECT lable FROM results")


def test_an_empty_lake_has_empty_tables(place: LakePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    from framemesh import query
    from framemesh.tables import TABLES

    empty = tuple(replace(table, bucket=f"no-such-{table.bucket}") for table in TABLES)
    monkeypatch.setattr(query, "TABLES", empty)
    monkeypatch.setattr(query, "FRAMES", empty[0])
    with tables(place) as lake:
        assert lake.ask("SELECT count(*) FROM frames").rows == [(0,)]
        assert lake.ask("SELECT count(*) FROM shadows").rows == [(0,)]
        assert lake.ask("SELECT model, date, label FROM results").columns == ("model", "date", "label")


async def test_files_merged_since_they_were_listed_are_found_again(place: LakePlace) -> None:
    async with lake_of(place, "references") as bucket:
        prefix = "camera=roof/date=2026-09-21/hour=14/"
        with tables(place) as lake:
            old, *_ = await bucket.keys(prefix)
            body, _ = await bucket.get(old)
            await bucket.put(f"{prefix}merged-1.parquet", body, content_type="x/y", metadata={})
            await bucket.delete(old)
            assert lake.ask("SELECT count(*), count(DISTINCT frame_id) FROM frames").rows == [(3 * COUNT, 3 * COUNT)]


async def test_strangers_files_are_passed_over_and_a_damaged_one_is_named(place: LakePlace) -> None:
    async with lake_of(place, "references") as bucket:
        await bucket.put("README.md", b"hello", content_type="x/y", metadata={})
        await bucket.put("camera=gate/notes.parquet", b"hello", content_type="x/y", metadata={})
        with tables(place) as lake:
            assert lake.ask("SELECT count(*) FROM frames").rows == [(3 * COUNT,)]
        damaged = "camera=gate/date=2026-09-21/hour=14/damaged.parquet"
        await bucket.put(damaged, b"PAR1", content_type="x/y", metadata={})
        try:
            with tables(place) as lake, pytest.raises(LakeUnavailableError, match=damaged):
                lake.ask("SELECT count(*) FROM frames")
        finally:
            await bucket.delete(damaged)


async def test_pictures_are_read_from_the_bucket_that_the_environment_names(place: LakePlace) -> None:
    variables = {
        "FRAMEMESH_S3_ENDPOINT": place.endpoint,
        "FRAMEMESH_S3_ACCESS_KEY": place.access_key,
        "FRAMEMESH_S3_SECRET_KEY": place.secret_key,
        "FRAMEMESH_S3_FRAMES_BUCKET": "photos",
    }
    key = "gate/2026/09/21/14/gate-1789999200000000000.jpg"
    async with lake_of(place, "photos") as bucket:
        await bucket.put(key, b"a picture", content_type="image/jpeg", metadata={})
    with tables(LakePlace.from_environment(variables)) as lake:
        assert lake.picture(key) == b"a picture"
    with tables(place) as lake, pytest.raises(FrameNotFoundError, match="its time may be over"):
        lake.picture(key)


def lake_of(place: LakePlace, bucket: str) -> Lake:
    return Lake(
        place.endpoint, access_key=place.access_key, secret_key=place.secret_key, region=place.region, bucket=bucket,
        requests=2,
    )  # fmt: skip


def test_a_lake_that_is_not_there_says_so(place: LakePlace) -> None:
    away = LakePlace(f"http://127.0.0.1:{free_port()}", "key", "secret")
    with pytest.raises(LakeUnavailableError, match=away.endpoint), tables(away):
        pass
    with pytest.raises(ConfigurationError, match="http://host:port"), tables(LakePlace("localhost:9000", "k", "s")):
        pass
    with (
        pytest.raises(ConfigurationError, match="S3 keys"),
        tables(LakePlace(place.endpoint, place.access_key, "wrong")),
    ):
        pass


def test_a_query_prints_a_table_or_json(run: Callable[..., str]) -> None:
    sql = "SELECT camera, count(*) AS n FROM frames GROUP BY camera ORDER BY camera"
    assert run("query", sql).split() == ["camera", "n", "gate", "30", "roof", "30", "yard", "30"]
    assert json.loads(run("query", sql, "--json").splitlines()[0]) == {"camera": "gate", "n": 30}
    assert "nothing found" in run("query", "SELECT * FROM frames WHERE camera = 'nobody'")


def test_what_somebody_else_wrote_does_nothing_to_the_terminal(run: Callable[..., str]) -> None:
    assert run("query", "SELECT chr(27) || '[2J' AS words").splitlines()[1] == r"\x1b[2J"


NARROW = {"COLUMNS": "80", "TTY_COMPATIBLE": "1", "NO_COLOR": "1", "TERM": "dumb"}


def test_on_a_narrow_terminal_a_wide_row_is_a_record_and_no_word_is_broken(run: Callable[..., str]) -> None:
    sql = "SELECT * FROM results WHERE model = 'detr' AND camera = 'gate' ORDER BY frame_id LIMIT 2"
    records = run("query", sql, **NARROW).split("\n\n")
    assert len(records) == 2
    fields = {line.split()[0]: line.split(None, 1)[1] for line in records[0].splitlines() if len(line.split()) > 1}
    assert fields["object_key"] == "gate/2026/09/21/14/gate-1790000000000000000.jpg"
    assert fields["capture_time"] == "2026-09-21 14:13:20.000Z"
    assert fields["labels"].startswith('[{"name": "car\'; DROP VIEW frames; --", "score": 0.5}, ')
    assert run("query", sql).splitlines()[0].split()[:3] == ["camera", "frame_id", "capture_time"]


def test_on_a_narrow_terminal_found_frames_keep_their_keys_whole(run: Callable[..., str]) -> None:
    lines = run("frames", "--camera", "gate", "--limit", "1", **NARROW).splitlines()
    assert lines[0].split() == ["capture_time", "object_key"]
    assert lines[1].endswith(".jpg")
    assert "shows camera, width_px, height_px, size_bytes too" in lines[2]
    lines = run("frames", "--label", "cat", "--limit", "1", **NARROW).splitlines()
    assert lines[0].split()[:3] == ["label", "score", "object_key"]


def keys(output: str) -> list[str]:
    return [json.loads(line)["object_key"] for line in output.splitlines()]


def test_frames_are_found_by_what_was_seen_in_them(run: Callable[..., str]) -> None:
    assert len(keys(run("frames", "--json"))) == 3 * COUNT
    assert len(keys(run("frames", "--json", "--camera", "gate", "--camera", "yard"))) == 2 * COUNT
    cats = run("frames", "--json", "--label", "CAT")
    assert len(keys(cats)) == COUNT + 10
    assert {json.loads(line)["label"] for line in cats.splitlines()} == {"Egyptian cat", "tiger cat"}
    assert len(keys(run("frames", "--json", "--label", "cat", "--min-score", "0.2"))) == COUNT - 20 + 10
    assert len(keys(run("frames", "--json", "--label", "cat", "--min-score", "0.9"))) == 10
    assert len(keys(run("frames", "--json", "--label", "car'; drop", "--model", "detr", "--limit", "7"))) == 7
    assert keys(run("frames", "--json", "--label", "cat", "--camera", "roof")) == []
    with pytest.raises(FrameNotFoundError, match="camera 'attic'; it has those of: gate, roof, yard"):
        run("frames", "--camera", "attic")
    assert len(keys(run("frames", "--json", "--since", "2026-09-21T15:00", "--until", "2026-09-21T15:59"))) == COUNT


def test_times_that_are_none_are_refused(run: Callable[..., str]) -> None:
    assert "write how long ago" in run("frames", "--since", "yesterday")
    assert "name one" in run("frames", "--model", "vit")


def test_commands_say_what_they_lack(tmp_path: Path) -> None:
    env = {name: "" for name in os.environ if name.startswith("FRAMEMESH_")}
    done = CliRunner().invoke(app, ["query", "SELECT 1", "--data-dir", str(tmp_path)], env=env)
    assert isinstance(done.exception, ConfigurationError)
    assert "framemesh up" in str(done.exception)


NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("1.5h", NOW - timedelta(hours=1.5)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T07:30+09:00", datetime(2026, 1, 30, 22, 30, tzinfo=UTC)),
    ],
)
def test_times_as_users_write_them(text: str, expected: datetime) -> None:
    assert parse_time(text, now=NOW) == expected


@pytest.mark.parametrize("text", ["", "now", "2h ago", "999999999d", "2026-13-01", "-1h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no time"):
        parse_time(text, now=NOW)
