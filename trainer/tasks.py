"""What differs between the tasks: the model's class, what a picture becomes, and what is measured. Imports torch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
    PreTrainedModel,
)
from transformers.trainer_utils import EvalPrediction, PredictionOutput

from framemesh.errors import ConfigurationError
from trainer import scoring
from trainer.orders import CLASSIFICATION
from trainer.reading import Dataset, Example
from trainer.scoring import Boxes, Scores

_HEAVIEST = 10.0
"""What one example of a rare class may count for, in those of a class of usual size."""


class Task(Protocol):
    """One way of learning from pictures.

    Attributes:
        best: The metric of the validation split that tells which checkpoint is best.
        more_is_better: Whether it should be high.
        patience: Epochs without a gain after which training ends.
    """

    best: str
    more_is_better: bool
    patience: int

    @property
    def model(self) -> PreTrainedModel:
        """The base with a new head for the dataset's classes."""

    @property
    def processor(self) -> Any:
        """What makes the model's input of a picture."""

    def pretrained(self) -> nn.Module:
        """The part of the model that has learnt from others' pictures, and is to stay as it is at first."""

    def encoded(self, image: Image.Image, example: Example) -> dict[str, Any]:
        """The model's input and what it should say."""

    def collated(self, encoded: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Several as one batch."""

    def same_sized(self) -> bool:
        """Whether pictures of any size make inputs of one size."""

    def loss(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Tensor:
        """What is to become small."""

    def said(self, outputs: Any) -> tuple[Tensor, ...]:
        """What of the model's outputs `measured` and `scored` look at."""

    def measured(self, prediction: EvalPrediction) -> dict[str, float]:
        """The metrics of a split, told after each epoch."""

    def scored(self, prediction: PredictionOutput, *, seed: int) -> Scores:
        """All that there is to say of a split."""


def open_task(folder: Path, dataset: Dataset) -> Task:
    """The base in a folder, ready to learn a dataset.

    Raises:
        ConfigurationError: transformers can't load it for the dataset's task.
    """
    made: type[Classification | Detection] = Classification if dataset.task == CLASSIFICATION else Detection
    try:
        return made(folder, dataset)
    except (ValueError, KeyError, OSError, ImportError, TypeError, RuntimeError) as error:
        raise ConfigurationError(f"the base can't be trained for {dataset.task}: {error}") from error


def picture(path: Path) -> Image.Image:
    """The picture in a file, turned as its EXIF says, as model servers see it."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


class _Common:
    """What both tasks share."""

    def __init__(self, folder: Path, dataset: Dataset, auto: Any) -> None:
        self._classes = dataset.classes
        names = dict(enumerate(dataset.classes))
        config = AutoConfig.from_pretrained(
            folder, id2label=names, label2id={name: number for number, name in names.items()}
        )
        self.model: PreTrainedModel = auto.from_pretrained(
            folder, config=config, use_safetensors=True, ignore_mismatched_sizes=True
        )
        # As model servers do it: torchvision's filters would be others.
        self.processor: Any = AutoImageProcessor.from_pretrained(folder, backend="pil")  # type: ignore[no-untyped-call]

    def same_sized(self) -> bool:
        """See `Task`."""
        wide, upright = (
            self.processor(images=Image.new("RGB", size), return_tensors="np")["pixel_values"][0].shape
            for size in ((96, 64), (64, 96))
        )
        return bool(wide == upright)


class Classification(_Common):
    """The class of a whole image. See `Task`."""

    best = "loss"  # also where every answer is right there is a better and a worse one
    more_is_better = False
    patience = 4

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        super().__init__(folder, dataset, AutoModelForImageClassification)
        counts = dataset.counts("train")
        usual = counts.total() / len(counts)
        weights = [min(_HEAVIEST, usual / counts[name]) if counts[name] else 0.0 for name in dataset.classes]
        self._weights = torch.tensor(weights)

    def pretrained(self) -> nn.Module:
        """See `Task`."""
        return self.model.base_model

    def encoded(self, image: Image.Image, example: Example) -> dict[str, Any]:
        """See `Task`."""
        pixels = self.processor(images=image, return_tensors="np")["pixel_values"][0]
        return {"pixel_values": torch.from_numpy(np.asarray(pixels, np.float32)), "labels": example.label}

    def collated(self, encoded: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """See `Task`."""
        return {
            "pixel_values": torch.stack([one["pixel_values"] for one in encoded]),
            "labels": torch.tensor([one["labels"] for one in encoded]),
        }

    def loss(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Tensor:  # noqa: ARG002
        """Cross entropy, in which rare classes count more."""
        return nn.functional.cross_entropy(outputs.logits, labels, self._weights.to(outputs.logits.device))

    def said(self, outputs: Any) -> tuple[Tensor, ...]:
        """See `Task`."""
        return (outputs.logits,)

    def measured(self, prediction: EvalPrediction) -> dict[str, float]:
        """See `Task`."""
        found, truth = _numbers(prediction)
        recalls = [float((found[truth == number] == number).mean()) for number in np.unique(truth)]
        return {"accuracy": float((found == truth).mean()), "mean_recall": float(np.mean(recalls))}

    def scored(self, prediction: PredictionOutput, *, seed: int) -> Scores:  # noqa: ARG002 - nothing is drawn
        """See `Task`."""
        found, truth = _numbers(prediction)
        return scoring.classification(truth.tolist(), found.tolist(), self._classes)


class Detection(_Common):
    """Objects and their boxes, learnt with the loss that the model brings. See `Task`."""

    best = "map50"
    more_is_better = True
    patience = 10

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        super().__init__(folder, dataset, AutoModelForObjectDetection)
        self._post_process: Callable[..., list[dict[str, Tensor]]] = self.processor.post_process_object_detection

    def pretrained(self) -> nn.Module:
        """The backbone; of a model that is all one, such as YOLOS, all but its heads."""
        base = self.model.base_model
        return getattr(base, "backbone", base)

    def encoded(self, image: Image.Image, example: Example) -> dict[str, Any]:
        """See `Task`."""
        objects = [
            {"bbox": list(box), "category_id": number, "area": box[2] * box[3], "iscrowd": 0}
            for box, number in zip(example.boxes, example.classes, strict=True)
        ]
        made = self.processor(images=image, annotations={"image_id": 0, "annotations": objects}, return_tensors="pt")
        labels = made["labels"][0]
        return {
            "pixel_values": made["pixel_values"][0],
            "labels": {"class_labels": labels["class_labels"].long(), "boxes": labels["boxes"].float().reshape(-1, 4)},
        }

    def collated(self, encoded: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """See `Task`."""
        return {
            "pixel_values": torch.stack([one["pixel_values"] for one in encoded]),
            "labels": [one["labels"] for one in encoded],
        }

    def loss(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Tensor:  # noqa: ARG002
        """See `Task`."""
        loss: Tensor = outputs.loss
        return loss

    def said(self, outputs: Any) -> tuple[Tensor, ...]:
        """See `Task`."""
        return outputs.logits, outputs.pred_boxes

    def measured(self, prediction: EvalPrediction) -> dict[str, float]:
        """See `Task`."""
        found, truth = self._boxes(prediction)
        return {"map50": scoring.mean_average_precision(truth, found, len(self._classes))}

    def scored(self, prediction: PredictionOutput, *, seed: int) -> Scores:
        """See `Task`."""
        found, truth = self._boxes(prediction)
        return scoring.detection(truth, found, self._classes, seed=seed)

    def _boxes(self, prediction: EvalPrediction | PredictionOutput) -> tuple[list[Boxes], list[Boxes]]:
        """What was found and what there is, image by image, as shares of its edges."""
        found: list[Boxes] = []
        truth: list[Boxes] = []
        batches: Any = zip(prediction.predictions, prediction.label_ids, strict=True)  # type: ignore[arg-type]
        for (logits, boxes), labels in batches:
            outputs = _Outputs(torch.as_tensor(logits), torch.as_tensor(boxes))
            shown = self._post_process(outputs, threshold=0.0)
            found.extend(_as_boxes(one["boxes"], one["labels"], one["scores"]) for one in shown)
            for label in labels:
                corners = _corners(torch.as_tensor(label["boxes"]))
                numbers = torch.as_tensor(label["class_labels"])
                truth.append(_as_boxes(corners, numbers, torch.ones(len(numbers))))
        return found, truth


class _Outputs:
    """What `post_process_object_detection` takes of a model's outputs."""

    def __init__(self, logits: Tensor, pred_boxes: Tensor) -> None:
        self.logits = logits
        self.pred_boxes = pred_boxes


def _numbers(prediction: EvalPrediction | PredictionOutput) -> tuple[Any, Any]:
    """The likeliest class of each image, and the true one."""
    logits = prediction.predictions
    logits = logits[0] if isinstance(logits, tuple) else logits
    return np.asarray(logits).argmax(axis=-1), np.asarray(prediction.label_ids)


def _corners(boxes: Tensor) -> Tensor:
    """Left, top, right and bottom of boxes given by centre, width and height."""
    centre, size = boxes[:, :2], boxes[:, 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=1)


def _as_boxes(corners: Tensor, classes: Tensor, scores: Tensor) -> Boxes:
    return Boxes(corners.double().numpy(), classes.long().numpy(), scores.double().numpy())
