"""Code to copy: it must run, whatever the labels hold."""

import ast
import base64
import json
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from console.client_code import Call, snippets

LABELS = ["a 'cat'", 'a "dog" \\ 100 % $(reboot)', "고양이"]


CALL = Call("127.0.0.1:5000", tls=None, with_token=False, models=["vit"], labels=[])


def code(title: str, **changed: object) -> str:
    call = replace(CALL, **changed)  # type: ignore[arg-type]
    return {one.title: one.code for one in snippets(call)}[title]


def test_python_names_the_address_and_the_models_and_takes_the_token_from_the_environment() -> None:
    plain = code("Python")
    assert 'Client("127.0.0.1:5000")' in plain
    assert 'client.analyze(Path("photo.jpg"), models=["vit"])' in plain
    assert "token" not in plain
    whole = code("Python", tls=Path("/tls/ca.crt"), with_token=True, models=[], labels=LABELS)
    assert 'Client("127.0.0.1:5000", tls=Path("ca.crt"), token=os.environ["FRAMEMESH_TOKEN"])' in whole
    assert "models=" not in whole
    lists = [ast.literal_eval(node) for node in ast.walk(ast.parse(whole)) if isinstance(node, ast.List)]
    assert lists == [LABELS]


def test_the_command_has_each_model_and_label_as_one_word() -> None:
    words = shlex.split(code("Shell", tls=True, models=["vit", "detr"], labels=LABELS).replace("\\\n", ""))
    assert words[:5] == ["framemesh", "analyze", "photo.jpg", "--address", "https://127.0.0.1:5000"]
    assert words[5:9] == ["--model", "vit", "--model", "detr"]
    assert words[9:] == [word for label in LABELS for word in ("--label", label)]


@pytest.mark.parametrize("labels", [[], LABELS])
def test_grpcurl_gets_json_from_the_shell(labels: list[str], tmp_path: Path) -> None:
    written = code("grpcurl", labels=labels)
    assert "-plaintext" in written
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    sent = subprocess.run(
        ["/bin/bash", "-c", written.partition("|\n")[0]], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    request = json.loads(sent)
    assert base64.b64decode(request["image"]) == b"a photo"
    assert request["models"] == ["vit"]
    assert request.get("options", {}).get("candidate_labels", []) == labels


def test_grpcurl_trusts_what_the_console_trusts() -> None:
    assert "-cacert ca.crt" in code("grpcurl", tls=Path("/tls/ca.crt"))
    assert "-plaintext" not in code("grpcurl", tls=True)
    assert 'bearer $framemesh_token"' in code("grpcurl", with_token=True).lower()
