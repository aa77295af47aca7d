"""`README.md` beside a dataset: the card from which `datasets.load_dataset` takes its types and names. Pure."""

import json
import textwrap
from collections.abc import Iterator

from framemesh.datasets.recipes import Recipe
from framemesh.datasets.reports import RECIPE, DatasetReport
from framemesh.datasets.rows import columns

CARD = "README.md"


def card(recipe: Recipe, report: DatasetReport) -> str:
    """The whole page."""
    return "\n".join([*_yaml(recipe, report), "", *_words(recipe, report), ""])


def _yaml(recipe: Recipe, report: DatasetReport) -> Iterator[str]:
    folders = recipe.format == "imagefolder"
    yield "---"
    if recipe.labels != "none":
        yield f"task_categories: [{recipe.task}]"
    yield "configs:"
    yield "- config_name: default"
    yield "  data_files:"
    for split in report.splits:
        yield f"  - split: {split}"
        yield f"    path: {f'{split}/**' if folders else f'{split}-*.tar'}"
    if folders:
        yield "  features:"
        yield textwrap.indent(_json_in_yaml(columns(recipe, report.classes)), "    ")
    yield "---"


def _json_in_yaml(value: object) -> str:
    """JSON, which is YAML but for the characters that YAML wants escaped: models name their classes as they like."""
    lines = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(each if each.isprintable() or each == "\n" else f"\\U{ord(each):08x}" for each in lines)


def _words(recipe: Recipe, report: DatasetReport) -> Iterator[str]:
    yield f"# {report.frames:,} frames of {len(report.cameras):,} cameras"
    yield ""
    yield f"Made by framemesh from its lake, as of {recipe.as_of:%Y-%m-%d %H:%M:%S} UTC. Digest `{report.digest}`."
    yield f"`framemesh dataset export OUT --recipe {RECIPE}` makes it again."
    yield ""
    yield "| split | frames | groups of neighbours |"
    yield "| --- | --- | --- |"
    for name, split in report.splits.items():
        yield f"| {name} | {split.frames:,} | {split.groups:,} |"
