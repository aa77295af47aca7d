"""The work that all peers do on an image. The only module that touches how the model server does it."""

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import TypedDict  # pydantic, which some peers use, reads no other before Python 3.12

from benchmarks.serving.order import Order
from model_server.artifacts import read_manifest
from model_server.preparers import FastPreparer
from model_server.preprocessing import Preprocessing
from model_server.runtimes import OnnxRuntime
from model_server.tasks import Classification
from model_server.tasks.classification import scores

LABELS = 5


class Label(TypedDict):
    """One class of an answer."""

    index: int
    name: str
    score: float


Classify = Callable[[bytes], list[Label]]
"""From a JPEG to its best classes, best first. Threads may call it at once."""

_Prepare = Callable[[bytes], NDArray[np.float32]]


def load(order: Order) -> Classify:
    """The model, loaded and run once. Takes some seconds."""
    manifest = read_manifest(order.prepared)
    task, preprocessing = manifest.task, manifest.preprocessing
    if not isinstance(task, Classification) or preprocessing is None:
        raise TypeError(f"{order.prepared} holds no classifier that our own preprocessing serves")
    runtime = OnnxRuntime(order.prepared)
    prepare = _scaled(preprocessing) if order.form == "scaled" else _full(order.source)

    def classify(body: bytes) -> list[Label]:
        found = scores(runtime.run(prepare(body))["logits"][0], task.activation)
        best = np.argsort(-found, kind="stable")[:LABELS]
        return [Label(index=int(index), name=task.labels[index], score=float(found[index])) for index in best]

    photo = BytesIO()
    Image.new("RGB", (320, 240)).save(photo, "JPEG")
    classify(photo.getvalue())
    return classify


def _scaled(preprocessing: Preprocessing) -> _Prepare:
    preparer = FastPreparer(preprocessing)
    return lambda body: preparer.prepare(body, ()).pixels


def _full(source: Path) -> _Prepare:
    # The processor of the Pillow backend needs no torch: who serves ONNX would not have it in memory.
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    from transformers import AutoImageProcessor  # noqa: PLC0415 - takes seconds, and must find no torch

    processor: Any = AutoImageProcessor.from_pretrained(source, backend="pil")  # type: ignore[no-untyped-call]

    def prepare(body: bytes) -> NDArray[np.float32]:
        image = Image.open(BytesIO(body)).convert("RGB")
        return np.asarray(processor(images=image, return_tensors="np")["pixel_values"], np.float32)

    return prepare
