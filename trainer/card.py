"""The model card: what was learnt from what, how well, and what may be done with it. Pure."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.bases import Base
from trainer.orders import CLASSIFICATION, Choices
from trainer.reading import SPLITS, Dataset
from trainer.scoring import ClassScore, Learnt, Score

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Story:
    """Where a model comes from: its name, its run, what it started from, what it learnt and how."""

    name: str
    run: str
    base: Base
    dataset: Dataset
    choices: Choices


def written(story: Story, learnt: Learnt) -> str:
    """The text of README.md, with the front matter that the hub reads."""
    base, dataset, scores = story.base, story.dataset, learnt.scores
    front = [
        "---",
        f"license: {base.licence or 'other'}",
        f"pipeline_tag: {dataset.task}",
        "library_name: transformers",
        *([f"base_model: {base.source}"] if _HUB_ID.fullmatch(base.source) else []),
        "tags: [framemesh]",
        "model-index:",
        f"  - name: {story.name}",
        "    results:",
        f"      - task: {{type: {dataset.task}}}",
        f"        dataset: {{name: {dataset.digest}, type: imagefolder, split: test}}",
        f"        metrics: [{{type: {scores.measure}, value: {scores.overall.value:.4f}}}]",
        "---",
    ]
    return "\n".join([*front, "", *_body(story, learnt), ""])


def _body(story: Story, learnt: Learnt) -> list[str]:
    name, base, dataset, choices, scores = story.name, story.base, story.dataset, story.choices, learnt.scores
    what = "the class of a picture" if dataset.task == CLASSIFICATION else "objects and their boxes"
    licence = base.licence or "not told by its files: find it out before you pass this model on"
    frozen = "throughout" if choices.head_only else "for the first epoch"
    unreadable = sum(dataset.unreadable.values())
    return [
        f"# {name}",
        "",
        f"Tells {what}, of {len(dataset.classes)} classes: {', '.join(dataset.classes)}.",
        f"Fine-tuned from `{base.source}`, version `{base.version}`; that model's licence is {licence}.",
        "",
        f"Run `{story.run}`. Deploy it with `framemesh deploy lake://models/{name}/{story.run} --shadow`.",
        "",
        "## Scores",
        "",
        f"On the {scores.images:,} pictures of the test split, which nothing was chosen by, once:",
        "",
        f"**{scores.measure} {_interval(scores.overall)}** (95 % confidence).",
        "",
        *_table(scores.classes, boxes=dataset.task != CLASSIFICATION),
        "",
        "## Data",
        "",
        f"Dataset `{dataset.digest}`. "
        + (f"{unreadable:,} pictures could not be decoded and were left out." if unreadable else ""),
        "",
        *_splits(dataset),
        "",
        "How it was chosen:",
        "",
        "```json",
        json.dumps(dataset.recipe["recipe"], indent=2),
        "```",
        "",
        "## Training",
        "",
        f"{learnt.epochs:g} of at most {choices.epochs} epochs, the best after {learnt.best_epoch:g}",
        "by the validation split;",
        f"{choices.batch_size} pictures a step, a rate of at most {choices.learning_rate:g} for what is new, a",
        f"twentieth of it for the pretrained part, which stayed as it was {frozen}; seed {choices.seed}.",
        "Pictures were varied in light, focus and place as a fixed camera's are, never mirrored.",
    ]


def _interval(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _table(classes: Sequence[ClassScore], *, boxes: bool) -> list[str]:
    heads = ["class", "examples", "precision", "recall", *(["AP@0.5"] if boxes else [])]
    rows = [
        [
            each.name.replace("|", r"\|"),
            f"{each.count:,}",
            _share(each.precision),
            _share(each.recall),
            *([_share(each.average_precision)] if boxes else []),
        ]
        for each in classes
    ]
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _splits(dataset: Dataset) -> list[str]:
    rows = [
        [split, f"{len(dataset.splits[split]):,}", ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))]
        for split in SPLITS
        if (counts := dataset.counts(split)) is not None
    ]
    return [f"| {' | '.join(row)} |" for row in (["split", "pictures", "labels"], ["---"] * 3, *rows)]
