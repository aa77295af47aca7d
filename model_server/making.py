"""Making the folder of a prepared model, and finding out how well it answers. Imports torch."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import structlog
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image

from framemesh import digests
from framemesh.errors import ConfigurationError, FramemeshError
from framemesh.folders import linked
from model_server import exporting, parity, processors, quantising, samples, sources
from model_server.artifacts import FORMAT, PARITY, Manifest, PreprocessingName, write_manifest
from model_server.building import Order
from model_server.decoding import open_image
from model_server.exact import ExactPreparer
from model_server.exporting import NotExportableError
from model_server.inference import Model, open_texts
from model_server.networks import Network, open_network
from model_server.parity import Witness
from model_server.preparers import FastPreparer
from model_server.preprocessing import Preprocessing
from model_server.progress import Tell
from model_server.quantising import QuantisationRefusedError
from model_server.runtimes import GRAPH, TEXT_GRAPH, OnnxRuntime
from model_server.tasks import Detection, Texts
from model_server.torch_runtime import TorchRuntime

log = structlog.get_logger()

TOLERANCE = 1e-3
"""Most that an output of the graph may differ, as a share of the greatest one, or absolutely where that is under 1."""
MIN_FAST_AGREEMENT = 0.9
"""Least share of the answers of fast preprocessing that must be those of transformers' own, all sizes together."""
MIN_FAST_AGREEMENT_AT_A_SIZE = 0.8
"""The same for the photos of each size, where one of five may fall the other way."""
_QUANTISED = "int8.onnx"
_PIXEL_TOLERANCE = 1e-4  # one step of one pixel makes 100 times as much
_BEGUN, _EXPORTED, _COMPARED = 0.25, 0.8, 0.95
"""Of EfficientNet-Lite0's preparation, when torch is imported, when the graph is there, and when it is checked."""


def make(order: Order, source: sources.Source, folder: Path, tell: Tell) -> None:
    """Fill the empty folder with the prepared model, its manifest and its parity report; `tell` is told how far it is.

    Before a graph is made, which may take minutes, the order's stand-in is: the same model for torch.

    A graph that can't be made, or answers otherwise than torch, is left out: torch then runs the model, and the
    manifest says why.

    Raises:
        ConfigurationError: The model can't be served; the message says why and what to do.
    """
    if order.runtime == "onnx" and order.precision not in {"fp32", "int8"}:
        raise ConfigurationError(f"precision {order.precision} runs on torch alone: use runtime=torch")
    tell("exporting", _BEGUN)
    network = open_network(source.folder, order.task, order.trust)
    for path in (*sources.model_files(source.folder, order.trust), *sources.cards(source.folder)):
        shutil.copyfile(path, folder / path.name)
    exact = ExactPreparer(folder, order.trust)
    if isinstance(network.task, Detection) and exact.processor.to_dict().get("pad_size"):
        raise ConfigurationError(
            "the model's image processor pads every image to one size (pad_size), which is not served: its boxes would "
            "be shares of the padding too; take pad_size out of preprocessor_config.json"
        )
    manifest = Manifest(
        format=FORMAT,
        version=source.version,
        runtime="torch",
        precision="fp32" if order.runtime == "onnx" else order.precision,
        fallback_reason="",
        task=network.task,
        preprocessing=None,
        preferred="exact",
        trust=order.trust,
        files={},
    )
    if order.runtime == "onnx" and order.stand_in is not None:
        try:
            _stand_in(order.stand_in, folder, manifest)
            tell("standing_in", 1.0)
        except OSError as error:  # nobody has asked for it: the model is made all the same
            log.warning("stand_in.refused", folder=str(order.stand_in), reason=error.strerror or str(error))
    by_size = samples.by_size(order.samples)
    photos = [photo for group in by_size.values() for photo in group]
    manifest = replace(manifest, preprocessing=_fast(exact, photos[::2]))  # still of all sizes, which decide the steps
    report: dict[str, object] = {
        "torch": torch.__version__, "transformers": transformers.__version__, "images": len(photos)
    }  # fmt: skip
    runtime = TorchRuntime(network, manifest.precision)
    witness = Witness(Model(manifest, runtime, exact, texts=open_texts(manifest, folder, runtime)))
    if order.runtime == "onnx":
        try:
            exporting.export(network, exact.prepare(photos[0], ()).pixels[:1], folder, fixed=_is_fixed(exact))
            tell("exporting", _EXPORTED)
            witness, report["graph"] = _graph(witness, network, exact, photos, folder)
            tell("exporting", _COMPARED)
            if order.precision == "int8":
                witness, report["quantisation"] = _quantised(witness, exact, order, folder)
        except NotExportableError as error:
            log.warning("export.refused", source=order.source, reason=str(error))
            report["graph"] = {"refused": str(error)}
            witness.model.manifest = replace(manifest, fallback_reason=f"onnx was asked for, but {error}")
    elif order.precision != "fp32":
        report["precision"] = _lower_precision(witness, order, source)
    preferred, report["preprocessing"] = _preferred(witness, by_size)
    manifest = witness.model.manifest
    _tidy(folder, manifest)
    (folder / PARITY).write_text(json.dumps(report, indent=2))
    files = digests.of_files(folder.iterdir())
    write_manifest(folder, replace(manifest, preferred=preferred, files=files))


def _stand_in(folder: Path, files: Path, manifest: Manifest) -> None:
    """Have what torch can run in a folder of its own: compared with nothing, as it is what others are compared with."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(files, folder, copy_function=linked)
    write_manifest(folder, replace(manifest, files=digests.of_files(folder.iterdir())))


def _graph(
    reference: Witness, network: Network, exact: ExactPreparer, photos: list[bytes], folder: Path
) -> tuple[Witness, dict[str, object]]:
    """The model on ONNX Runtime, by the exported graph, and how well it agrees with torch.

    Raises:
        NotExportableError: It can't be run, or answers otherwise.
    """
    model = reference.model
    manifest = replace(model.manifest, runtime="onnx")
    try:
        graph = OnnxRuntime(folder)
        texts = open_texts(manifest, folder, graph)
        candidate = Witness(Model(manifest, graph, exact, texts=texts))
        if network.texts is not None:
            _check_texts(texts, open_texts(manifest, folder, model.runtime))
        alone = parity.compare(candidate, reference, photos)
        together = parity.compare(candidate, reference, photos[:6], batch=3)
    except FramemeshError:
        raise
    except Exception as error:  # ONNX Runtime's have no base of their own
        raise NotExportableError(f"ONNX Runtime can't run the exported graph: {str(error).strip()}") from error
    for found in (alone, together):
        if not found.within(TOLERANCE):
            raise NotExportableError(
                "the exported graph answers otherwise than torch: "
                f"its outputs differ by {found.max_absolute_error:.2g}, its answers agree on {found.agreement:.0%}"
            )
    return candidate, {"alone": asdict(alone), "in batches of 3": asdict(together)}


def _quantised(
    reference: Witness, exact: ExactPreparer, order: Order, folder: Path
) -> tuple[Witness, dict[str, object]]:
    """The model in int8, and how well it agrees with fp32; in fp32 where it doesn't."""
    model = reference.model
    batches = [exact.prepare(photo, ()).pixels for photo in samples.calibration(order.samples)]
    photos = [*samples.photos(order.samples), *samples.crops(order.samples)]
    candidates: list[Witness] = []
    reports: list[dict[str, object]] = []

    def agreement(graph: Path) -> float:
        candidates.append(Witness(model.on(OnnxRuntime(folder, graph.name))))
        found = parity.compare(candidates[-1], reference, photos)
        reports.append(asdict(found))
        return found.agreement

    try:
        found = quantising.search(folder / GRAPH, batches, folder / _QUANTISED, agreement)
    except QuantisationRefusedError as error:
        log.warning("quantisation.refused", source=order.source, reason=str(error))
        model.manifest = replace(model.manifest, fallback_reason=f"int8 was asked for, but {error}")
        return reference, {"refused": str(error), "tried": reports}
    (folder / _QUANTISED).replace(folder / GRAPH)
    candidates[-1].model.manifest = replace(model.manifest, precision="int8")
    return candidates[-1], {"recipe": found.recipe, **reports[-1]}


def _lower_precision(witness: Witness, order: Order, source: sources.Source) -> dict[str, object]:
    """How well the model agrees with itself in fp32."""
    reference = TorchRuntime(open_network(source.folder, order.task, order.trust), "fp32")
    return asdict(parity.compare(witness, Witness(witness.model.on(reference)), samples.photos(order.samples)))


def _check_texts(ours: Texts | None, theirs: Texts | None) -> None:
    """Pass a text graph that agrees with torch: the image graph's outputs don't show it."""
    assert ours is not None and theirs is not None  # noqa: S101, PT018 - they have a network each
    labels = parity.OPTIONS.candidate_labels
    wanted = theirs.embed(labels)
    difference = float(np.abs(ours.embed(labels) - wanted).max())
    if difference > TOLERANCE * max(1.0, float(np.abs(wanted).max())):
        raise NotExportableError(
            f"the exported text graph answers otherwise than torch: its features differ by {difference:.2g}"
        )


def _fast(exact: ExactPreparer, photos: list[bytes]) -> Preprocessing | None:
    """Our own preprocessing, where it makes the same inputs of whole photos as transformers' processor."""
    settings = exact.processor.to_dict()
    preprocessing = processors.read(settings)
    if preprocessing is None:
        return None
    ours = FastPreparer(preprocessing)
    for photo in photos:
        image = open_image(photo)
        whole = image.decode(image.size)
        if not _same(ours.whole(whole).pixels, exact.whole(whole).pixels):
            return None
    return preprocessing


def _same(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> bool:
    return ours.shape == theirs.shape and float(np.abs(ours - theirs).max()) <= _PIXEL_TOLERANCE


def _is_fixed(exact: ExactPreparer) -> bool:
    """Whether inputs of wide images are as large as those of upright ones."""
    wide, upright = (exact.whole(Image.new("RGB", size)).pixels.shape for size in ((96, 64), (64, 96)))
    return wide == upright


def _preferred(exact: Witness, by_size: dict[str, list[bytes]]) -> tuple[PreprocessingName, dict[str, object]]:
    """Which preprocessing to serve with, and how well the fast one agrees with the exact one at each size of photo."""
    preprocessing = exact.model.manifest.preprocessing
    if preprocessing is None:
        return "exact", {"refused": "the image processor does what only transformers does"}
    fast = Witness(exact.model.prepared_by(FastPreparer(preprocessing)))
    found = {size: parity.compare(fast, exact, photos) for size, photos in by_size.items()}
    report: dict[str, object] = {size: asdict(one) for size, one in found.items()}
    mean = float(np.mean([one.agreement for one in found.values()]))
    worst = min(found, key=lambda size: found[size].agreement)
    if mean >= MIN_FAST_AGREEMENT and found[worst].agreement >= MIN_FAST_AGREEMENT_AT_A_SIZE:
        return "fast", report
    reason = (
        f"the fast one gives {mean:.0%} of the answers of transformers' own, "
        f"and {found[worst].agreement:.0%} at the worst size, {worst}"
    )
    return "exact", {"refused": reason, **report}


def _tidy(folder: Path, manifest: Manifest) -> None:
    """Leave out what the runtime doesn't read."""
    if manifest.runtime == "torch":
        for name in (GRAPH, TEXT_GRAPH):
            (folder / name).unlink(missing_ok=True)
    else:
        for path in folder.iterdir():
            if sources.is_weights(path.name):
                path.unlink()
