"""`python -m benchmarks.datasets`: what an export of many frames takes, and that it is the same each time.

A lake of small JPEGs with a model's answers and some corrections, made without cameras; then `framemesh dataset export`
as a process of its own: a folder, the same again by its recipe, and shards.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path

from PIL import Image

from archiver import files
from archiver.rows import Partition, Row, correction_row, frame_row, result_row
from benchmarks.pipeline.rig import rig
from framemesh.datasets.reports import RECIPE, DatasetReport, parse
from framemesh.frames import FrameId, object_key, timestamp
from framemesh.lake import Lake
from framemesh.tables import CORRECTIONS, FRAMES, RESULTS, Table
from framemesh.v1.answer_pb2 import Answer, AnswerState, Classification, Label, ModelAnswer
from framemesh.v1.correction_pb2 import Correction
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.v1.result_pb2 import Result

_FIRST_NS = 1_740_000_000_000_000_000
_STEP_NS = 500_000_000
_CAMERAS = 4
_LABELS = tuple(f"class {number}" for number in range(10))
_CORRECTED = 100
_AT_ONCE = 64
_SIZE = (64, 48)
_LIMIT_MB = 500


@dataclass(frozen=True, slots=True)
class _Export:
    report: DatasetReport
    seconds: float
    cpu_seconds: float
    peak_mb: float


async def main(count: int) -> None:
    """Make the lake, export, and print."""
    async with rig() as running:
        began = time.monotonic()
        async with running.lake("frames") as lake:
            await _put_frames(lake, count)
        for table, rows in _rows(count).items():
            async with running.lake(table.bucket) as lake:
                await _put_rows(lake, table, rows)
        print(f"a lake of {count:,} frames, made in {time.monotonic() - began:.0f} s")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            first = await asyncio.to_thread(_export, folder, running.env, "first", "--model", "lite0")
            again = await asyncio.to_thread(_export, folder, running.env, "again", "--recipe", f"{name}/first/{RECIPE}")
            shards = await asyncio.to_thread(
                _export, folder, running.env, "shards", "--model", "lite0", "--format", "webdataset"
            )
            minutes = _splits_of_minutes(folder / "first")
    if not first.report.digest == again.report.digest == shards.report.digest:
        sys.exit("the digests differ")
    twice = sum(len(splits) > 1 for splits in minutes.values())
    splits = ", ".join(f"{name} {split.frames:,}" for name, split in first.report.splits.items())
    print(f"{first.report.digest} three times; {splits}; {first.report.left_out.near_borders:,} left out between them")
    print(f"{len(minutes):,} minutes of {_CAMERAS} cameras, {twice} of them in two splits; limit 0")
    for name, each in (("folder", first), ("folder again", again), ("shards", shards)):
        rate, cpu_ms = each.report.frames / each.seconds, 1000 * each.cpu_seconds / count
        print(
            f"{name}: {rate:,.0f} frames/s, {cpu_ms:.2f} ms of CPU a frame, {each.peak_mb:,.0f} MB; limit {_LIMIT_MB}"
        )


def _frames(count: int) -> Iterator[tuple[int, Frame]]:
    for number in range(count):
        frame_id = FrameId(f"camera-{number % _CAMERAS}", _FIRST_NS + number // _CAMERAS * _STEP_NS)
        yield (
            number,
            Frame(
                frame_id=str(frame_id),
                camera=frame_id.camera,
                capture_time=timestamp(frame_id.captured_ns),
                width_px=_SIZE[0],
                height_px=_SIZE[1],
                content_type="image/jpeg",
                object_key=object_key(frame_id, "image/jpeg"),
            ),
        )


async def _put_frames(lake: Lake, count: int) -> None:
    frames = _frames(count)
    while several := list(islice(frames, _AT_ONCE)):
        await asyncio.gather(
            *(
                lake.put(frame.object_key, _jpeg(number), content_type="image/jpeg", metadata={})
                for number, frame in several
            )
        )


def _jpeg(number: int) -> bytes:
    out = BytesIO()
    Image.new("RGB", _SIZE, (number % 256, number // 256 % 256, 90)).save(out, "JPEG")
    return out.getvalue()


def _rows(count: int) -> dict[Table, dict[Partition, list[Row]]]:
    """What the archiver would make of the messages about these frames."""
    found: dict[Table, dict[Partition, list[Row]]] = {
        table: defaultdict(list) for table in (FRAMES, RESULTS, CORRECTIONS)
    }
    for number, frame in _frames(count):
        stored = StoredFrame(frame=frame, store_time=frame.capture_time)
        label = Label(name=_LABELS[number % len(_LABELS)], score=0.9)
        result = Result(
            frame=frame,
            answer=ModelAnswer(
                model="lite0",
                model_version="1",
                state=AnswerState.ANSWER_STATE_SUCCEEDED,
                answer=Answer(classification=Classification(labels=[label])),
            ),
            answer_time=frame.capture_time,
        )
        rows = [(FRAMES, frame_row(stored.SerializeToString())), (RESULTS, result_row(result.SerializeToString()))]
        if number % _CORRECTED == 0:
            said = Correction(frame=frame, label="by a person", correct_time=frame.capture_time)
            rows.append((CORRECTIONS, correction_row(said.SerializeToString())))
        for table, row in rows:
            if row is not None:
                found[table][row[0]].append(row[1])
    return found


async def _put_rows(lake: Lake, table: Table, partitions: Mapping[Partition, list[Row]]) -> None:
    for partition, rows in partitions.items():
        body = files.write(rows, table.columns)
        await lake.put(
            f"{partition.prefix(table.partitions)}made.parquet", body, content_type=files.CONTENT_TYPE, metadata={}
        )


def _export(folder: Path, env: Mapping[str, str], name: str, *options: str) -> _Export:
    argv = (sys.executable, "-m", "framemesh", "dataset", "export", str(folder / name), *options)
    began = time.monotonic()
    process = subprocess.Popen([*argv, "--data-dir", str(folder / "no-mesh")], env={**os.environ, **env})
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        sys.exit(f"{' '.join(argv)} ended with {os.waitstatus_to_exitcode(status)}")
    report = parse((folder / name / RECIPE).read_bytes()).dataset
    assert report is not None  # noqa: S101 - an export writes it
    return _Export(report, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def _splits_of_minutes(folder: Path) -> dict[tuple[str, int], set[str]]:
    """In which splits the frames of each minute of each camera are."""
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for file in folder.glob("*/metadata.jsonl"):
        with file.open() as lines:
            for row in map(json.loads, lines):
                found[row["camera"], row["capture_time_ns"] // 60_000_000_000].add(file.parent.name)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=50_000)
    asyncio.run(main(parser.parse_args().frames))
