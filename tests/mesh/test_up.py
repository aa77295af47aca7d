"""`framemesh up` as a user runs it: real processes from end to end, with a small model."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest
from nats import connect as nats_connect

from framemesh.client import Client
from framemesh.lake import Lake
from framemesh.mesh.deployed import deployed
from framemesh.mesh.joining import MeshState, read_state
from framemesh.specs import parse
from framemesh.v1.model_pb2 import DeploymentPhase, ReplicaState
from tests.certificates import issue
from tests.pictures import jpeg, png_bomb

COMMAND = (sys.executable, "-m", "framemesh")
PrepareAhead = Callable[[Path], None]
SERVICES = ("nats", "s3", "gateway", "model-tiny-0", "deployer", "console")


@contextmanager
def mesh(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A mesh that runs; whatever happens, nothing of it is left."""
    process = subprocess.Popen(
        [*COMMAND, "up", "--data-dir", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        for pid in (state.processes if (state := read_state(folder)) else {}).values():
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], Any], *, seconds: float = 90.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return found


def finished(process: subprocess.Popen[str], *, seconds: float = 120.0) -> str:
    out, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, out
    return out


def up_and_running(folder: Path) -> MeshState:
    state: MeshState = wait_for(lambda: read_state(folder))
    return state


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False)


def test_a_mesh_stores_and_answers_and_leaves_nothing_running(
    vit: Path, prepare_ahead: PrepareAhead, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    cameras = ("--cameras", "2", "--fps", "10", "--size", "320x240")
    first_time = ("--model", f"tiny={vit},policy=every", "--duration", "4", "--report", str(report))
    prepare_ahead(tmp_path / "data")
    with mesh(tmp_path / "data", *cameras, *first_time) as process:
        state = up_and_running(tmp_path / "data")
        finished(process)
        assert not any(runs(pid) for pid in state.processes.values())
    # Its models are where `prepare_ahead` puts them: elsewhere each mesh of the tests would prepare its own.
    assert [each.name for each in (tmp_path / "data" / "models").iterdir()] == ["prepared"]
    first = json.loads(report.read_text())
    assert first["frames"]["published"] == first["frames"]["stored"] > 20
    assert (first["frames"]["lost"], first["frames"]["duplicates"], first["frames"]["waiting"]) == (0, 0, 0)
    assert set(first["cameras"]) == {"chelsea", "coffee"}
    model = first["models"]["tiny"]
    assert (model["analysed"], model["missing"], model["failed"]) == (first["frames"]["stored"], 0, 0)
    assert first["nats_sync_interval"] == "always"
    # A second start goes on where the first stopped: the same model without naming it, the old frames still there.
    one_camera = ("--cameras", "1", *cameras[2:])
    with mesh(tmp_path / "data", *one_camera, "--duration", "2", "--report", str(report)) as process:
        state = up_and_running(tmp_path / "data")
        with Client(state.address) as client:
            assert [each.spec.name for each in client.models()] == ["tiny"]
        finished(process)
    second = json.loads(report.read_text())
    assert 0 < second["frames"]["stored"] == second["frames"]["published"]
    assert set(second["cameras"]) == {"chelsea"}  # and nothing of what was stored before


def test_a_mesh_is_up_once_its_models_answer_though_their_graphs_are_still_made(vit: Path, tmp_path: Path) -> None:
    report, data = tmp_path / "report.json", tmp_path / "data"
    options = ("--cameras", "1", "--fps", "5", "--size", "320x240", "--model", f"tiny={vit},policy=every")
    with mesh(data, *options, "--report", str(report)) as process:
        wait_for(lambda: programs(data, "model_server"))
        (worker,) = programs(data, "model_server.building")
        worker.suspend()
        state = up_and_running(data)
        wait_for(lambda: published(state, "chelsea") >= 3)
        process.send_signal(signal.SIGINT)  # the worker goes with it
        finished(process)
        assert not runs(worker.pid)
    counted = json.loads(report.read_text())
    assert counted["models"]["tiny"]["analysed"] == counted["frames"]["stored"] >= 3
    assert not list((data / "models").rglob("*.onnx"))


def programs(folder: Path, name: str) -> list[psutil.Process]:
    return [found.process for found in deployed(folder) if found.program == name]


def test_a_file_of_cameras_is_followed_drained_and_reported(
    vit: Path, prepare_ahead: PrepareAhead, tmp_path: Path
) -> None:
    report, file = tmp_path / "report.json", tmp_path / "cameras.yaml"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg(1, (320, 240)))
    gate, door = (f"- {{name: {name}, source: photos, fps: 10}}\n" for name in ("gate", "door"))
    file.write_text(f"cameras:\n{gate}")
    options = ("--cameras", str(file), "--model", f"tiny={vit},policy=every", "--report", str(report))
    prepare_ahead(tmp_path / "data")
    with mesh(tmp_path / "data", *options) as process:
        state = up_and_running(tmp_path / "data")
        wait_for(lambda: published(state, "gate") >= 5)
        file.write_text(f"cameras:\n{door}")
        wait_for(lambda: published(state, "door") >= 5)
        wait_for(lambda: published(state, "gate") == 0)  # its metrics went with it
        process.send_signal(signal.SIGINT)
        finished(process)
    counted = json.loads(report.read_text())
    assert set(counted["cameras"]) == {"gate", "door"}
    frames, model = counted["frames"], counted["models"]["tiny"]
    assert (frames["lost"], frames["duplicates"], frames["waiting"]) == (0, 0, 0)
    assert frames["stored"] == frames["published"] == model["analysed"] >= 10


def published(state: MeshState, camera: str) -> float:
    """How many frames of a camera its agent says that it has published."""
    name = f'framemesh_ingest_frames_total{{camera="{camera}",outcome="published"}} '
    with urlopen(f"http://{state.http['ingest']}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def test_killed_parts_come_back_and_no_frame_is_lost(vit: Path, prepare_ahead: PrepareAhead, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--cameras", "2", "--fps", "15", "--size", "320x240", "--model", f"tiny={vit},policy=every")
    prepare_ahead(tmp_path / "data")
    with mesh(tmp_path / "data", *options, "--report", str(report)) as process:
        state = up_and_running(tmp_path / "data")
        for name in SERVICES:
            os.kill(state.processes[name], signal.SIGKILL)
            wait_for(partial(restarted, tmp_path / "data", name, state.processes[name]))
        process.send_signal(signal.SIGINT)
        out = finished(process)
    counted = json.loads(report.read_text())
    assert (counted["frames"]["lost"], counted["frames"]["duplicates"]) == (0, 0), out
    model = counted["models"]["tiny"]
    assert (model["missing"], model["duplicates"]) == (0, 0)
    assert model["analysed"] == counted["frames"]["stored"]
    deployers = (tmp_path / "data" / "logs" / "deployer.log").read_text()
    for name in SERVICES:
        assert f"{name} ended with signal SIGKILL; restart 1" in out + deployers


def test_a_killed_mesh_leaves_nothing_that_the_next_start_does_not_clear_up(
    vit: Path, prepare_ahead: PrepareAhead, tmp_path: Path
) -> None:
    data, report = tmp_path / "data", tmp_path / "report.json"
    options = ("--cameras", "1", "--fps", "10", "--size", "320x240")
    prepare_ahead(data)
    with mesh(data, *options, "--model", f"tiny={vit},policy=every") as process:
        left = up_and_running(data).processes
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert runs(left["nats"])
        with mesh(data, *options, "--duration", "1", "--report", str(report)) as second:
            finished(second)
        assert not any(runs(pid) for pid in left.values())
    counted = json.loads(report.read_text())
    assert (counted["frames"]["lost"], counted["frames"]["duplicates"]) == (0, 0)


def test_models_come_scale_and_go_while_the_mesh_runs(vit: Path, quiet: tuple[MeshState, Path]) -> None:
    def servers(name: str) -> int:
        return sum(
            replica.state == ReplicaState.REPLICA_STATE_SERVING
            for model in client.models()
            if model.spec.name == name
            for replica in model.replicas
        )

    with Client(quiet[0].address) as client:
        client.deploy(parse(f"second={vit}"))
        wait_for(lambda: servers("second") == 1)
        client.scale("second", 2)
        wait_for(lambda: servers("second") == 2)
        assert [answer.model for answer in client.analyze(jpeg()).answers] == ["second", "tiny"]
        client.scale("second", 1)
        wait_for(lambda: servers("second") == 1)
        client.deploy(parse("hopeless=./no/such/folder"))
        client.delete("second")
        wait_for(lambda: servers("second") == 0)
        client.delete("hopeless")
        wait_for(lambda: [model.spec.name for model in client.models()] == ["tiny"])
        assert servers("tiny") == 1


def test_a_model_that_was_put_into_the_lake_is_served_from_there(vit: Path, quiet: tuple[MeshState, Path]) -> None:
    state, folder = quiet
    done = run("export", str(vit), "--data-dir", str(folder), "--upload", "lake://models/tiny/v1")
    assert done.returncode == 0, done.stderr
    with Client(state.address) as client:
        client.deploy(parse("stored=lake://models/tiny/v1"))
        wait_for(lambda: "stored" in answering(client))
        answers = {answer.model: answer for answer in client.analyze(jpeg()).answers}
        assert answers["stored"].answer == answers["tiny"].answer
        client.delete("stored")
        wait_for(lambda: [model.spec.name for model in client.models()] == ["tiny"])


def answering(client: Client) -> set[str]:
    return {
        replica.model
        for model in client.models()
        for replica in model.replicas
        if replica.state == ReplicaState.REPLICA_STATE_SERVING
    }


@pytest.fixture(scope="module")
def quiet(vit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MeshState, Path]]:
    """A mesh without cameras that waits for frames from outside, and has prepared its model itself."""
    folder = tmp_path_factory.mktemp("quiet")
    options = ("--cameras", "none", "--model", f"tiny={vit}", "--policy", "every")
    with mesh(folder, *options) as process:
        state = up_and_running(folder)
        yield state, folder
        process.terminate()
        finished(process)


def page(url: str, *, trusted: Path | None = None) -> str:
    """What the console answers a browser that comes for the first time."""
    asked = Request(url, headers={"Accept": "text/html"})  # noqa: S310 - the console's own
    tls = ssl.create_default_context(cafile=trusted) if trusted else None
    with urlopen(asked, timeout=60, context=tls) as answer:  # noqa: S310
        body: bytes = answer.read()
    return body.decode()


def test_the_console_is_served_to_this_machine(quiet: tuple[MeshState, Path]) -> None:
    assert "<title>Live · framemesh</title>" in page(quiet[0].console_url)
    assert quiet[0].console_url in run("env", "--data-dir", str(quiet[1])).stdout


def test_a_mesh_may_begin_without_any_model_and_one_that_fails_is_told_once_and_holds_up_no_end(tmp_path: Path) -> None:
    with mesh(tmp_path, "--cameras", "none", "--model", "none") as process:
        state = up_and_running(tmp_path)
        with Client(state.address) as client:
            assert client.models() == []
            wish = client.deploy_model(parse(f"hopeless={tmp_path},policy=every"))
            *_, last = client.progress("hopeless", wish.generation)
            assert last.status.phase == DeploymentPhase.DEPLOYMENT_PHASE_FAILED
            asyncio.run(publish(state.nats_url, "frames.gate", jpeg()))
            wait_for(lambda: [each.waiting_frame_count for each in client.status().models] == [1])
        process.terminate()
        out = finished(process)
    assert len([line for line in out.splitlines() if line.startswith("hopeless: failed")]) == 1
    assert "1 frames still wait for model hopeless" in out
    assert "waiting for model hopeless" not in out


async def publish(nats_url: str, subject: str, body: bytes) -> None:
    client = await nats_connect(nats_url)
    await client.publish(subject, body)
    await client.drain()


async def test_a_camera_that_knows_nothing_of_us_is_stored_and_answered(quiet: tuple[MeshState, Path]) -> None:
    state, _ = quiet
    answers: list[str] = []

    async def take(message: Any) -> None:
        answers.append(message.subject)

    camera = await nats_connect(state.nats_url)
    await camera.subscribe("results.tiny.gate", cb=take)
    pictures = [jpeg(number, (320, 240)) for number in range(100)]
    for picture in pictures:
        await camera.publish("frames.gate", picture)
    await camera.flush()
    lake = Lake(
        state.s3_endpoint,
        access_key=state.s3_access_key,
        secret_key=state.s3_secret_key,
        region="us-east-1",
        bucket="frames",
        requests=4,
    )
    async with lake:
        deadline = time.monotonic() + 60
        while len(answers) < 100:
            assert time.monotonic() < deadline
            await camera.flush()
        keys = await lake.keys("gate/")
        assert len(keys) == 100
        assert {(await lake.get(key))[0] for key in keys} == set(pictures)
    assert len(answers) == 100
    await camera.close()


def test_the_command_line_reads_the_mesh(quiet: tuple[MeshState, Path], tmp_path: Path) -> None:
    _, folder = quiet
    here = ("--data-dir", str(folder))
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg(3, (320, 240)))
    asked = run("analyze", str(photo), *here, "--top", "2")
    assert asked.returncode == 0, asked.stderr
    assert "tiny" in asked.stdout
    machine = json.loads(run("analyze", str(photo), *here, "--json").stdout)
    assert machine["answers"][0]["model"] == "tiny"
    assert "ready 1/1" in run("models", *here).stdout
    assert json.loads(run("models", *here, "--json").stdout)["spec"]["name"] == "tiny"
    assert "export FRAMEMESH_NATS_URL=nats://" in run("env", *here).stdout
    watching = subprocess.Popen([*COMMAND, "watch", *here, "--count", "1", "--json"], stdout=subprocess.PIPE, text=True)
    publish = (
        "import asyncio, nats, sys;"
        "exec('async def main():\\n nc = await nats.connect(sys.argv[1])\\n"
        ' await nc.publish("frames.porch", open(sys.argv[2], "rb").read())\\n await nc.close()\');'
        "asyncio.run(main())"
    )
    while watching.poll() is None:
        subprocess.run([sys.executable, "-c", publish, read_url(folder), str(photo)], check=True, timeout=30)
    assert json.loads(watching.communicate()[0])["frame"]["camera"] == "porch"


def test_bad_files_get_a_clear_error_and_the_mesh_goes_on(quiet: tuple[MeshState, Path], tmp_path: Path) -> None:
    _, folder = quiet
    file = tmp_path / "file"
    for content, names in (
        (None, "No such file"),
        (b"", "empty"),
        (b"just text", "JPEG"),
        (jpeg(1, (640, 480))[:-500], "stops"),
        (png_bomb(60_000, 60_000), "pixels"),
    ):
        if content is not None:
            file.write_bytes(content)
        asked = run("analyze", str(file), "--data-dir", str(folder))
        assert asked.returncode == 1
        assert names in asked.stderr
        assert "Traceback" not in asked.stderr
    file.write_bytes(jpeg())
    assert run("analyze", str(file), "--data-dir", str(folder)).returncode == 0


def test_a_huge_file_is_refused_without_being_read(quiet: tuple[MeshState, Path], tmp_path: Path) -> None:
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    asked = run("analyze", str(huge), "--data-dir", str(quiet[1]))
    assert asked.returncode == 1
    assert "104,857,600 bytes" in asked.stderr


def test_an_unknown_model_is_named_with_those_there_are(quiet: tuple[MeshState, Path], tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg())
    asked = run("analyze", str(photo), "--model", "nonesuch", "--data-dir", str(quiet[1]))
    assert asked.returncode == 1
    assert "deployed: tiny" in asked.stderr


@pytest.mark.parametrize(
    ("options", "code", "names"),
    [
        (("--model", "no/such/folder/anywhere"), 78, "no/such/folder/anywhere"),
        (("--cameras", "x"), 78, "NAME=SOURCE"),
        (("--policy", "never"), 1, "policy"),
    ],
)
def test_what_cannot_start_says_why(tmp_path: Path, options: tuple[str, ...], code: int, names: str) -> None:
    with mesh(tmp_path, "--cameras", "none", *options) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == code, out
    assert len([line for line in out.splitlines() if names in line]) == 1, out  # once is enough
    assert "Traceback" not in out


def test_photos_and_folders_of_them_are_told_one_by_one(quiet: tuple[MeshState, Path], tmp_path: Path) -> None:
    here = ("--data-dir", str(quiet[1]))
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.JPG").write_bytes(jpeg(number))
    (folder / "notes.txt").write_text("no photo")
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photo either")
    good = [str(folder / f"{number}.JPG") for number in range(3)]
    asked = run("analyze", str(folder), *here)
    assert asked.returncode == 0, asked.stderr
    assert all(asked.stdout.count(name) == 1 for name in good)
    assert asked.stdout.count("tiny") == 3
    mixed = run("analyze", str(bad), good[0], str(tmp_path / "missing.jpg"), "--json", *here)
    assert mixed.returncode == 1
    told = {line["requestId"]: line for line in map(json.loads, mixed.stdout.splitlines())}
    assert told[good[0]]["response"]["answers"][0]["model"] == "tiny"
    assert (
        told[str(bad)]["error"]["reason"] == told[str(tmp_path / "missing.jpg")]["error"]["reason"] == "INVALID_IMAGE"
    )
    (tmp_path / "empty").mkdir()
    nothing = run("analyze", str(tmp_path / "empty"), *here)
    assert nothing.returncode == 1
    assert "no photo in" in nothing.stderr


def test_a_gateway_with_tls_and_tokens_lets_its_mesh_and_its_users_in(
    vit: Path, prepare_ahead: PrepareAhead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = issue(tmp_path)
    reader, admin = "r" * 32, "a" * 32
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f'[board]\nrole = "read"\ntoken = "{reader}"\n[ops]\nrole = "admin"\ntoken = "{admin}"\n')
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg())
    door = {"TLS_CERT_FILE": pair.cert, "TLS_KEY_FILE": pair.key, "TOKENS_FILE": tokens}
    for name, path in door.items():
        monkeypatch.setenv(f"FRAMEMESH_{name}", str(path))
    prepare_ahead(tmp_path / "data")
    with mesh(tmp_path / "data", "--cameras", "none", "--model", f"tiny={vit}") as process:
        state = up_and_running(tmp_path / "data")
        own = run("analyze", str(photo), "--data-dir", str(tmp_path / "data"))
        assert own.returncode == 0, own.stderr
        assert "Token" in page(state.console_url, trusted=pair.ca)
        exports = run("env", "--data-dir", str(tmp_path / "data")).stdout
        assert f"export FRAMEMESH_TOKEN={admin}\n" in exports
        # From elsewhere: an address, the authority, and a token.
        plain = run("models", "--address", state.address)
        assert plain.returncode == 1
        assert "may want TLS" in plain.stderr
        monkeypatch.setenv("FRAMEMESH_TLS_CA_FILE", str(pair.ca))
        stranger = run("models", "--address", f"https://{state.address}")
        assert stranger.returncode == 1
        assert "FRAMEMESH_TOKEN" in stranger.stderr
        monkeypatch.setenv("FRAMEMESH_TOKEN", reader)
        assert "tiny" in run("models", "--address", f"https://{state.address}").stdout
        denied = run("analyze", str(photo), "--address", state.address)
        assert denied.returncode == 1
        assert "role analyse" in denied.stderr
        process.send_signal(signal.SIGINT)
        out = finished(process)
        assert reader not in out
        assert admin not in out
    for log in (tmp_path / "data" / "logs").iterdir():
        assert reader not in log.read_text()
        assert admin not in log.read_text()


def test_a_token_is_not_sent_to_another_machine_in_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMESH_TOKEN", "t" * 32)
    asked = run("models", "--address", "gateway.example.com:50051")
    assert asked.returncode == 78
    assert "https://gateway.example.com:50051" in asked.stderr


def test_a_mesh_without_a_token_for_itself_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f'[board]\nrole = "read"\ntoken = "{"r" * 32}"\n')
    monkeypatch.setenv("FRAMEMESH_TOKENS_FILE", str(tokens))
    asked = run("up", "--data-dir", str(tmp_path / "data"))
    assert asked.returncode == 78
    assert "role admin" in asked.stderr


def test_a_port_in_use_says_so(tmp_path: Path, quiet: tuple[MeshState, Path]) -> None:
    taken = quiet[0].address.rpartition(":")[2]
    with mesh(tmp_path, "--cameras", "none", "--grpc-port", taken) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 78
    assert f"port {taken} can't be used" in out
    assert "--grpc-port" in out


def test_a_second_mesh_on_the_same_directory_is_refused(quiet: tuple[MeshState, Path]) -> None:
    asked = run("up", "--data-dir", str(quiet[1]))
    assert asked.returncode == 78
    assert "already" in asked.stderr


def test_servers_that_run_elsewhere_are_used(
    vit: Path,
    prepare_ahead: PrepareAhead,
    nats: str,
    s3: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"FRAMEMESH_NATS_URL": nats, **s3}.items():
        monkeypatch.setenv(name, value)
    report = tmp_path / "report.json"
    options = (
        "--cameras", "1", "--size", "320x240", "--model", f"tiny={vit}", "--duration", "3", "--report", str(report)
    )  # fmt: skip
    prepare_ahead(tmp_path / "data")
    with mesh(tmp_path / "data", *options) as process:
        state = up_and_running(tmp_path / "data")
        assert state.nats_url == nats
        assert not state.processes.keys() & {"nats", "s3"}
        finished(process)
    counted = json.loads(report.read_text())
    assert counted["frames"]["stored"] > 0
    assert counted["nats_sync_interval"] == "as the server is set"


def test_an_s3_server_without_its_keys_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMESH_S3_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.delenv("FRAMEMESH_S3_ACCESS_KEY", raising=False)
    asked = run("up", "--data-dir", str(tmp_path / "data"))
    assert asked.returncode == 78
    assert "FRAMEMESH_S3_ACCESS_KEY" in asked.stderr


def test_without_a_mesh_commands_say_how_to_start_one(tmp_path: Path) -> None:
    for command in ("models", "watch", "env"):
        asked = run(command, "--data-dir", str(tmp_path))
        assert asked.returncode == 78
        assert "framemesh up" in asked.stderr


def restarted(folder: Path, name: str, old: int) -> bool:
    state = read_state(folder)
    return state is not None and state.processes.get(name) not in {None, old}


def runs(pid: int) -> bool:
    """Whether the process is there and not only waiting for its parent to notice its end."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def read_url(folder: Path) -> str:
    state = read_state(folder)
    assert state is not None
    return state.nats_url
