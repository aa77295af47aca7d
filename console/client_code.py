"""Code that asks the same models from a program: real names, ready to copy. Pure."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from framemesh.rpc.channels import Tls

_PHOTO = "photo.jpg"


@dataclass(frozen=True, slots=True)
class Snippet:
    """Code in one language."""

    title: str
    language: str
    code: str


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked, and of whom.

    Attributes:
        address: The gateway's, as `host:port`.
        tls: How it is spoken to.
        with_token: Whether it wants one, which the code takes from `FRAMEMESH_TOKEN`.
        models: Who is asked; none means all.
        labels: What zero-shot models look for; none means those of their specs.
    """

    address: str
    tls: Tls
    with_token: bool
    models: Sequence[str]
    labels: Sequence[str]


def snippets(call: Call) -> list[Snippet]:
    """How to ask from Python, from a shell with the command, and from one with grpcurl."""
    return [
        Snippet("Python", "python", _python(call)),
        Snippet("Shell", "bash", _command(call)),
        Snippet("grpcurl", "bash", _grpcurl(call)),
    ]


def _python(call: Call) -> str:
    how = [json.dumps(call.address)]
    if call.tls:
        how.append('tls=Path("ca.crt")' if isinstance(call.tls, Path) else "tls=True")
    if call.with_token:
        how.append('token=os.environ["FRAMEMESH_TOKEN"]')
    what = [f'Path("{_PHOTO}")']
    if call.models:
        what.append(f"models={json.dumps(list(call.models))}")
    if call.labels:
        what.append(f"options=AnswerOptions(candidate_labels={json.dumps(list(call.labels), ensure_ascii=False)})")
    lines = [
        *(["import os"] if call.with_token else []),
        "from pathlib import Path",
        "",
        "from framemesh import Client",
        *(["from framemesh.v1.answer_pb2 import AnswerOptions"] if call.labels else []),
        "",
        f"with Client({', '.join(how)}) as client:",
        f"    response = client.analyze({', '.join(what)})",
        "for answer in response.answers:",
        "    print(answer.model, answer.error.message or answer.answer)",
    ]
    return "\n".join(lines)


def _command(call: Call) -> str:
    words = [f"framemesh analyze {_PHOTO}", f"--address {'https://' if call.tls else ''}{call.address}"]
    words += [f"--model {model}" for model in call.models]
    words += [f"--label {shlex.quote(label)}" for label in call.labels]
    return " \\\n  ".join(words)


def _grpcurl(call: Call) -> str:
    request: dict[str, object] = {"image": "%s"}
    if call.models:
        request["models"] = list(call.models)
    if call.labels:
        request["options"] = {"candidate_labels": list(call.labels)}
    how = ("-cacert ca.crt " if isinstance(call.tls, Path) else "") if call.tls else "-plaintext "
    token = '-H "authorization: Bearer $FRAMEMESH_TOKEN" ' if call.with_token else ""
    words = json.dumps(request, ensure_ascii=False).replace("\\", "\\\\").replace("%", "%%")  # as printf reads them
    wanted = shlex.quote(words.replace("%%s", "%s", 1))
    return (
        f'printf {wanted} "$(base64 -w0 {_PHOTO})" |\n'
        f"  grpcurl {how}{token}-d @ \\\n  {call.address} framemesh.v1.AnalysisService/Analyze"
    )
