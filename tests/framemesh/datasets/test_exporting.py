"""Datasets from a real lake, read back with the libraries that trainers use."""

import asyncio
import gc
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import datasets
import pytest
import yaml
from typer.testing import CliRunner

from framemesh.cli import app
from framemesh.corrections import CLASSIFICATION, TASKS, LabelTask
from framemesh.datasets import claiming
from framemesh.datasets.cards import card
from framemesh.datasets.choosing import Choosing, EmptyDatasetError
from framemesh.datasets.exporting import DatasetChangedError, export
from framemesh.datasets.loading import load
from framemesh.datasets.places import bucket
from framemesh.datasets.recipes import Recipe, Split
from framemesh.datasets.reports import DatasetReport, Document, LeftOut, dump, parse
from framemesh.errors import ConfigurationError, FrameNotFoundError, InvalidNameError, InvalidRequestError
from framemesh.query import LakePlace, tables
from tests.faults.proxy import proxy
from tests.framemesh.datasets.conftest import AS_OF, BOX, COUNT, MINUTES, NOON, MadeLake, recipe


async def make(lake: MadeLake, out: Path | str, made_by: Recipe | Document, **options: Any) -> DatasetReport:
    document = made_by if isinstance(made_by, Document) else Document(made_by)
    return await asyncio.to_thread(
        lambda: export(str(out), document, lake.place, tell=options.pop("tell", lambda *_: None), **options)
    )


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of all splits."""
    return [
        {"split": file.parent.name, **json.loads(line)}
        for file in sorted(folder.rglob("metadata.jsonl"))
        for line in file.read_text().splitlines()
    ]


@pytest.fixture
def cached(tmp_path: Path) -> dict[str, str]:
    """Where `datasets` keeps what it has read."""
    return {"cache_dir": str(tmp_path / "cache")}


async def test_a_folder_of_classes_is_what_load_dataset_reads(
    lake: MadeLake, tmp_path: Path, cached: dict[str, str]
) -> None:
    out = tmp_path / "a-test-folder"
    report = await make(lake, out, recipe())
    plain = datasets.load_dataset("imagefolder", data_dir=str(out), **cached)
    assert {name: len(split) for name, split in plain.items()} == {n: s.frames for n, s in report.splits.items()}
    assert set(plain) == {"train", "validation", "test"}
    first = plain["train"][0]
    assert first["image"].size == (64, 48)
    assert first["label"] in {"cat", "dog", "fox", "wolf"}
    typed = datasets.load_dataset(str(out), **cached)
    assert typed["train"].features["label"].names == list(report.classes) == ["cat", "dog", "fox", "wolf"]
    assert typed["train"].features["label"].int2str(typed["train"][0]["label"]) == first["label"]
    assert typed["train"]["sha256"] == plain["train"]["sha256"]


async def test_pictures_are_the_cameras_own_bytes_and_their_rows_say_so(lake: MadeLake, tmp_path: Path) -> None:
    report = await make(lake, tmp_path / "out", recipe())
    found = rows(tmp_path / "out")
    assert len(found) == report.frames
    for row in found:
        body = (tmp_path / "out" / row["split"] / row["file_name"]).read_bytes()
        assert hashlib.sha256(body).hexdigest() == row["sha256"]
        stored, _ = await lake.frames.get(f"{row['camera']}/2025/03/10/12/{row['file_name']}")
        assert stored == body
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == report.frames


async def test_boxes_are_what_load_dataset_reads(lake: MadeLake, tmp_path: Path, cached: dict[str, str]) -> None:
    out = tmp_path / "boxes"
    report = await make(lake, out, recipe(task="object-detection", model="detr"))
    assert report.classes == ("car", "van")
    plain = datasets.load_dataset("imagefolder", data_dir=str(out), **cached)
    typed = datasets.load_dataset(str(out), **cached)
    with_objects = [row for row in plain["train"] if row["objects"]["categories"]]
    assert {tuple(row["objects"]["bbox"][0]) for row in with_objects} == {(4.0, 8.0, 16.0, 16.5)}
    assert {row["label_source"] for row in with_objects if row["objects"]["categories"] == [1]} == {"correction"}
    assert any(not row["objects"]["categories"] for row in plain["train"])
    categories = typed["train"].features["objects"]["categories"]
    assert categories.feature.names == ["car", "van"]
    assert typed["train"].features["objects"]["bbox"].feature.length == 4


async def test_unlabelled_frames_have_no_labels(lake: MadeLake, tmp_path: Path, cached: dict[str, str]) -> None:
    report = await make(lake, tmp_path / "out", recipe(labels="none", model=""))
    assert (report.classes, report.frames + report.left_out.near_borders) == ((), COUNT)
    typed = datasets.load_dataset(str(tmp_path / "out"), **cached)
    assert "label" not in typed["train"].features


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("task", ["image-classification", "object-detection"])
async def test_shards_are_what_webdataset_reads(lake: MadeLake, tmp_path: Path, task: str) -> None:
    import webdataset

    model = {"image-classification": "vit", "object-detection": "detr"}[task]
    wanted = recipe(format="webdataset", task=task, model=model)
    report = await make(lake, tmp_path / "out", wanted, shard_bytes=20_000)
    shards = sorted(str(path) for path in (tmp_path / "out").glob("train-*.tar"))
    assert len(shards) > 3
    assert all(Path(shard).stat().st_size < 40_000 for shard in shards)
    read = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil"))
    gc.collect()  # webdataset leaves closing its files to this
    assert len(read) == report.splits["train"].frames
    for sample in read:
        assert sample["jpg"].size == (64, 48)
        assert sample["json"]["frame_id"] == sample["__key__"]
        if task == "image-classification":
            assert report.classes[sample["cls"]] == sample["json"]["label"]
    again = await make(lake, tmp_path / "again", wanted, shard_bytes=20_000)
    assert again.digest == report.digest
    for shard in shards:
        assert (tmp_path / "again" / Path(shard).name).read_bytes() == Path(shard).read_bytes()
    folder = await make(lake, tmp_path / "folder", replace(wanted, format="imagefolder"))
    assert folder.digest == report.digest


async def test_no_minute_of_a_camera_is_in_two_splits(lake: MadeLake, tmp_path: Path) -> None:
    report = await make(lake, tmp_path / "out", recipe())
    splits: dict[tuple[str, int], set[str]] = {}
    for row in rows(tmp_path / "out"):
        splits.setdefault((row["camera"], row["capture_time_ns"] // 60_000_000_000), set()).add(row["split"])
    assert len(splits) == 2 * MINUTES
    assert all(len(found) == 1 for found in splits.values())
    assert {name: split.groups for name, split in report.splits.items()} == {
        name: sum(found == {name} for found in splits.values()) for name in report.splits
    }


async def test_a_recipe_makes_the_same_again_whatever_came_since(lake: MadeLake, tmp_path: Path) -> None:
    first = await make(lake, tmp_path / "first", recipe(cameras=("gate",)))
    late = await lake.frame("gate", 7.77, stored=AS_OF + timedelta(hours=1))
    lake.answer("vit", late, "cat", at=AS_OF + timedelta(hours=1))
    lake.correct(f"gate-{round(NOON.timestamp())}000000000", "unicorn", at=AS_OF + timedelta(hours=1))
    lake.correct(f"gate-{round(NOON.timestamp())}000000000", "wolf", at=AS_OF + timedelta(hours=2), removed=True)
    await lake.write()
    document = parse((tmp_path / "first" / "recipe.json").read_bytes())
    assert document.dataset == first
    again = await make(lake, tmp_path / "again", document)
    assert again == first
    assert files_of(tmp_path / "again") == files_of(tmp_path / "first")
    now = await make(lake, tmp_path / "now", recipe(cameras=("gate",), as_of=AS_OF + timedelta(days=1)))
    assert now.digest != first.digest


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_an_export_that_is_stopped_leaves_nothing(lake: MadeLake, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        await make(lake, tmp_path / "out", recipe(), tell=stopping_at(10))
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


KILLED = """
import json, os, signal, sys
from framemesh.datasets.exporting import export
from framemesh.datasets.reports import parse
from framemesh.query import LakePlace

def tell(done, total):
    if done == 10:
        os.kill(os.getpid(), signal.SIGKILL)

export(sys.argv[1], parse(sys.stdin.buffer.read()), LakePlace.from_environment(os.environ), tell=tell)
"""


async def test_what_a_killed_export_leaves_does_not_look_whole_and_is_in_nobodys_way(
    lake: MadeLake, s3: dict[str, str], tmp_path: Path
) -> None:
    environment = {**os.environ, **s3, "FRAMEMESH_S3_FRAMES_BUCKET": lake.place.frames_bucket}

    def killed() -> int:
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path / "out")],
            input=dump(Document(recipe())), env=environment, check=False,
        ).returncode  # fmt: skip

    assert await asyncio.to_thread(killed) == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".out*/train/*.jpg"))
    report = await make(lake, tmp_path / "out", recipe())
    assert len(rows(tmp_path / "out")) == report.frames
    assert not list(tmp_path.glob(".out*/train"))


async def test_what_is_there_stays(lake: MadeLake, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match="there already"):
        await make(lake, tmp_path / "out", recipe())
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


async def test_what_came_there_while_an_export_went_on_stays(lake: MadeLake, tmp_path: Path) -> None:
    def somebody_else(done: int, total: int) -> None:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "thesis.txt").write_text("years of work")

    with pytest.raises(ConfigurationError, match="by somebody else meanwhile"):
        await make(lake, tmp_path / "out", recipe(cameras=("test",)), tell=somebody_else)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


async def test_a_disk_that_takes_no_more_is_told_in_a_line(lake: MadeLake, tmp_path: Path) -> None:
    """The limit on the size of files is as good as a full disk, which a test can't have."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        with pytest.raises(ConfigurationError, match=r"can't write .*out: File too large; nothing of it is left"):
            await make(lake, tmp_path / "out", recipe())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "out").exists()


async def test_a_dataset_goes_into_the_lake_and_is_whole_once_its_recipe_is_there(
    lake: MadeLake, tmp_path: Path
) -> None:
    url = "lake://datasets/pets/v1"
    local = await make(lake, tmp_path / "out", recipe())
    with pytest.raises(KeyboardInterrupt):
        await make(lake, url, recipe(cameras=("test",)), tell=stopping_at(10))
    async with bucket(lake.place, "datasets") as datasets_bucket:
        left = await datasets_bucket.keys("pets/v1/")
        assert left
        assert "pets/v1/recipe.json" not in left
        assert await make(lake, url, recipe(cameras=("gate",))) != local
        keys = await datasets_bucket.keys("pets/v1/")
        assert not [key for key in keys if "/test-1" in key]
        gate = await make(lake, tmp_path / "gate", recipe(cameras=("gate",)))
        stored = {key.removeprefix("pets/v1/"): (await datasets_bucket.get(key))[0] for key in keys}
    assert stored == files_of(tmp_path / "gate")
    assert parse(stored["recipe.json"]).dataset == gate
    with pytest.raises(ConfigurationError, match="never changes"):
        await make(lake, url, recipe())
    shards = await make(lake, "lake://datasets/pets/v2", recipe(format="webdataset"))
    assert shards.digest == local.digest
    for wrong in ("lake://models/pets/v1", "lake://datasets/pets", "lake://datasets/../v1", "lake://datasets/Pets/v1"):
        with pytest.raises((ConfigurationError, InvalidNameError)):
            await make(lake, wrong, recipe())


async def test_of_two_exports_at_once_into_one_version_one_is_refused_and_nothing_mixes(
    lake: MadeLake, tmp_path: Path
) -> None:
    recipes = [recipe(cameras=(camera,)) for camera in ("gate", "test")]
    done = await asyncio.gather(
        *(make(lake, "lake://datasets/pets/raced", made_by) for made_by in recipes), return_exceptions=True
    )
    (refused,) = (error for error in done if isinstance(error, BaseException))
    assert isinstance(refused, ConfigurationError)
    (report,) = (each for each in done if isinstance(each, DatasetReport))
    winner = recipes[done.index(report)]
    await make(lake, tmp_path / "alone", winner)
    async with bucket(lake.place, "datasets") as datasets_bucket:
        keys = await datasets_bucket.keys("pets/raced/")
        stored = {key.removeprefix("pets/raced/"): (await datasets_bucket.get(key))[0] for key in keys}
        assert not await datasets_bucket.keys(".claims/")
    assert stored == files_of(tmp_path / "alone")


async def test_an_export_that_stood_still_leaves_its_place_to_the_next(
    lake: MadeLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(claiming, "_DEAD_SECONDS", 1.0)
    url = "lake://datasets/pets/frozen"
    second: list[DatasetReport] = []

    def stand_still(done: int, total: int) -> None:
        """On the first export's own loop, which therefore renews nothing meanwhile."""
        if not second:
            other = Thread(target=lambda: second.append(asyncio.run(make(lake, url, recipe(cameras=("gate",))))))
            other.start()
            other.join()

    with pytest.raises(ConfigurationError, match="took pets/frozen/ over"):
        await make(lake, url, recipe(cameras=("test",)), tell=stand_still)
    await make(lake, tmp_path / "alone", recipe(cameras=("gate",)))
    async with bucket(lake.place, "datasets") as datasets_bucket:
        keys = {key.removeprefix("pets/frozen/") for key in await datasets_bucket.keys("pets/frozen/")}
    assert keys == set(files_of(tmp_path / "alone"))


def stopping_at(count: int) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        if done == count:
            raise KeyboardInterrupt

    return tell


async def test_a_lake_that_is_away_for_a_moment_is_waited_for(lake: MadeLake, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    port = urlsplit(lake.place.endpoint).port
    assert port is not None
    async with proxy(port) as way:
        away = replace(lake, place=replace(lake.place, endpoint=f"http://127.0.0.1:{way.port}"))

        async def cut_for_a_moment() -> None:
            await way.cut()
            loop.call_later(1, lambda: mending.append(asyncio.create_task(way.mend())))

        def tell(done: int, total: int) -> None:
            if done == 10:
                asyncio.run_coroutine_threadsafe(cut_for_a_moment(), loop).result()

        mending: list[asyncio.Task[None]] = []
        report = await make(away, tmp_path / "out", recipe(), tell=tell)
        assert mending
    assert report.frames == len(rows(tmp_path / "out"))
    assert report.left_out.gone == 0


async def test_frames_that_retention_took_are_told(made: MadeLake, tmp_path: Path) -> None:
    for number in range(30):
        await made.frame("old", number, color=number)
        await made.frame("new", number, color=number)
    await made.write()
    wanted = recipe(labels="none", model="", cameras=("old", "new"), split=Split(train=1, validation=0, test=0))
    whole = await make(made, tmp_path / "whole", wanted)
    assert whole.left_out == LeftOut(0, 0)
    document = parse((tmp_path / "whole" / "recipe.json").read_bytes())
    await made.forget("old", rows=False)
    part = await make(made, tmp_path / "part", wanted)
    assert (part.frames, part.left_out, list(part.cameras)) == (30, LeftOut(30, 0), ["new"])
    with pytest.raises(DatasetChangedError, match="camera old had 30 frames and has 0"):
        await make(made, tmp_path / "again", document)
    await made.forget("old")
    with pytest.raises(FrameNotFoundError, match="no frames of camera 'old'"):
        await make(made, tmp_path / "again", document)
    await made.frame("old", 3.5)
    await made.write()
    with pytest.raises(DatasetChangedError, match="1 of 30 frames of camera old are left"):
        await make(made, tmp_path / "again", document)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("task", TASKS)
async def test_other_labels_under_the_same_recipe_are_told(made: MadeLake, tmp_path: Path, task: LabelTask) -> None:
    camera = f"re-{task}"
    frame = await made.frame(camera, 0)

    async def say(name: str, at: datetime) -> None:
        if task == CLASSIFICATION:
            made.correct(frame, name, at=at)
        else:
            made.correct(frame, None, objects=[{"name": name, **BOX}], at=at)
        await made.write()

    await say("cat", NOON)
    await make(made, tmp_path / "first", recipe(labels="corrections", model="", task=task, cameras=(camera,)))
    document = parse((tmp_path / "first" / "recipe.json").read_bytes())
    await say("dog", NOON + timedelta(seconds=1))  # as of a gateway whose clock is late
    with pytest.raises(DatasetChangedError, match=f"1 frames of camera {camera} have other labels"):
        await make(made, tmp_path / "again", document)


async def test_a_model_that_said_nothing_of_a_frame_disagrees_with_nobody(made: MadeLake) -> None:
    frame = await made.frame("silent", 0)
    made.answer("vit", await made.frame("silent", 600), "cat")
    made.answer("detr", frame, "car")
    made.correct(frame, "wolf")
    await made.write()
    with tables(made.place, as_of=AS_OF) as found:
        assert Choosing(found, recipe(cameras=("silent",))).count == 2
        with pytest.raises(EmptyDatasetError):
            Choosing(found, recipe(cameras=("silent",), disagrees_with="detr"))


def test_a_card_holds_whatever_a_model_calls_its_classes() -> None:
    names = ("bell\x7f", "next\x85line", "c1\x9f", "tag\U000e0001", 'a "b": c', "고양이 😀")
    _, front, _ = card(recipe(), DatasetReport(names, 0, "", {}, {}, LeftOut(0, 0))).split("---\n", 2)
    features = {column["name"]: column["dtype"] for column in yaml.safe_load(front)["configs"][0]["features"]}
    assert tuple(features["label"]["class_label"]["names"].values()) == names


async def test_a_recipe_is_a_dataset_without_files_of_ours(
    lake: MadeLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    out = tmp_path / "out"
    report = await make(lake, out, recipe())
    loaded = load(out / "recipe.json", lake=lake.place)
    assert {name: len(split) for name, split in loaded.items()} == {n: s.frames for n, s in report.splits.items()}
    names = loaded["train"].features["label"].names
    assert names == list(report.classes)
    written = {row["frame_id"]: row for row in rows(out)}
    for row in loaded["test"]:
        assert (written[row["frame_id"]]["split"], written[row["frame_id"]]["label"]) == ("test", names[row["label"]])
        assert row["image"].size == (64, 48)
    streamed = load(recipe(task="object-detection", model="detr"), lake=lake.place, streaming=True)
    first = next(iter(streamed["train"]))
    assert first["image"].size == (64, 48)
    assert {len(box) for row in streamed["test"] for box in row["objects"]["bbox"]} == {4}
    with pytest.raises(EmptyDatasetError):
        load(recipe(only=("unicorn",)), lake=lake.place)


def run(place: LakePlace, *arguments: str) -> tuple[int, str]:
    env = {
        "FRAMEMESH_S3_ENDPOINT": place.endpoint,
        "FRAMEMESH_S3_ACCESS_KEY": place.access_key,
        "FRAMEMESH_S3_SECRET_KEY": place.secret_key,
        "FRAMEMESH_S3_FRAMES_BUCKET": place.frames_bucket,
        "FRAMEMESH_ADDRESS": "",
        "COLUMNS": "150",
    }
    done = CliRunner().invoke(app, ["dataset", "export", *arguments], env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_the_command_exports_and_makes_it_again(lake: MadeLake, tmp_path: Path) -> None:
    out, again, data = str(tmp_path / "out"), str(tmp_path / "again"), ("--data-dir", str(tmp_path))
    code, printed = run(lake.place, out, "--model", "vit", "--camera", "gate", *data)
    assert code == 0
    report = parse((tmp_path / "out" / "recipe.json").read_bytes()).dataset
    assert report is not None
    assert report.digest in printed
    assert "wolf" in printed
    code, printed = run(lake.place, again, "--recipe", f"{out}/recipe.json", "--json", *data)
    assert (code, json.loads(printed.splitlines()[-1])["digest"]) == (0, report.digest)
    code, _ = run(lake.place, again, "--recipe", f"{out}/recipe.json", "--model", "vit", *data)
    assert code == 2
    with pytest.raises(ConfigurationError, match="there already"):
        run(lake.place, again, "--model", "vit", *data)
    with pytest.raises(ConfigurationError, match="can't read"):
        run(lake.place, out, "--recipe", f"{out}/nothing.json", *data)
    with pytest.raises(InvalidRequestError, match="labels"):
        run(lake.place, again, "--labels", "magic", *data)
    assert run(lake.place, again, "--split", "a lot", *data)[0] == 2
