"""The frames of a recipe, found in the lake's tables with their labels."""

from collections.abc import Iterator
from dataclasses import dataclass

from framemesh.corrections import CLASSIFICATION
from framemesh.datasets.recipes import Recipe
from framemesh.errors import FramemeshError, InvalidRequestError, ModelNotFoundError
from framemesh.query import LakeTables

_SHOWN = 10
_MICROSECONDS = 1_000_000

# Partitions go by the frame's id, which may lie beside the capture time that a foreign camera tells.
_TIMES = "date BETWEEN $since::DATE - 1 AND $until::DATE + 1 AND capture_time BETWEEN $since AND $until"
_BOX = "{'name': x.name, 'x_min': x.x_min_px, 'y_min': x.y_min_px, 'x_max': x.x_max_px, 'y_max': x.y_max_px}"
_WANTED = "(len($labels) = 0 OR list_contains($labels, x.name))"
_FRAMES = f"""
SELECT frame_id, camera, capture_time, object_key, width_px, height_px FROM frames
WHERE (len($cameras) = 0 OR list_contains($cameras, camera)) AND {_TIMES}
"""  # noqa: S608 - our own words
_JOIN = f"""
CREATE OR REPLACE TEMP TABLE joined AS
SELECT taken.*, seen.score, seen.model_version, seen.label AS seen_label, said.label AS said_label,
       seen.frame_id IS NOT NULL AS is_seen, said.frame_id IS NOT NULL AS is_said,
       $other = '' OR (seen.frame_id IS NOT NULL AND other.frame_id IS NOT NULL
                       AND other.label IS DISTINCT FROM seen.label) AS is_disputed,
       [{_BOX} FOR x IN said.objects IF {_WANTED}] AS said_objects,
       [{_BOX} FOR x IN seen.labels IF x.x_min_px IS NOT NULL AND x.score >= $min_score::FLOAT AND {_WANTED}]
       AS seen_objects
FROM taken
LEFT JOIN (SELECT * FROM corrections WHERE task = $task AND {_TIMES}) said USING (frame_id)
LEFT JOIN (SELECT * FROM results WHERE model = $model AND state = 'succeeded' AND {_TIMES}) seen USING (frame_id)
LEFT JOIN (SELECT * FROM results WHERE model = $other AND state = 'succeeded' AND {_TIMES}) other USING (frame_id)
"""  # noqa: S608
_LABELLED = """
CREATE OR REPLACE TEMP TABLE labelled AS
SELECT *, CASE label_source WHEN 'query' THEN asked_label WHEN 'correction' THEN said_label
                            WHEN 'model' THEN seen_label END AS label,
       CASE label_source WHEN 'correction' THEN said_objects WHEN 'model' THEN seen_objects END AS objects
FROM (SELECT *, CASE WHEN $source = 'query' AND asked_label IS NOT NULL THEN 'query'
                     WHEN $source IN ('corrections', 'corrected') AND is_said THEN 'correction'
                     WHEN $source IN ('results', 'corrected', 'none') AND is_seen THEN 'model' END AS label_source
      FROM joined)
WHERE ($source = 'none' AND $model = '')
   OR (label_source IS NOT NULL AND ($is_boxes OR label IS NOT NULL))
"""
# A frame that a person has corrected is in, however sure the model was of its own answer.
_CHOSEN = """
CREATE OR REPLACE TEMP TABLE chosen AS
SELECT * FROM labelled
WHERE (len($labels) = 0 OR CASE WHEN $is_boxes THEN len(objects) > 0 ELSE list_contains($labels, label) END)
  AND (($source = 'corrected' AND label_source = 'correction') OR ($min_score = 0 AND $max_score = 1)
       OR score BETWEEN $min_score::FLOAT AND $max_score::FLOAT)
  AND is_disputed
QUALIFY $every_us = 0
     OR row_number() OVER (PARTITION BY camera, epoch_us(capture_time) // greatest($every_us, 1)
                           ORDER BY capture_time, frame_id) = 1
"""
# Mixed once and for good: what is read in this order needs little more mixing.
_ROWS = """
SELECT frame_id, camera, epoch_us(capture_time), object_key, width_px, height_px, label_source, label, objects,
       score::DOUBLE, model_version
FROM chosen ORDER BY md5(frame_id)
"""
_CLASSES = """
SELECT DISTINCT name FROM (SELECT label AS name FROM chosen WHERE NOT $is_boxes
                           UNION ALL SELECT unnest(objects).name FROM chosen WHERE $is_boxes)
WHERE name IS NOT NULL ORDER BY name
"""
_ASKED = "SELECT DISTINCT frame_id::VARCHAR AS frame_id"
_TWO_LABELS = "SELECT frame_id FROM asked GROUP BY frame_id HAVING count(*) > 1 LIMIT 1"
_GONE = "SELECT (SELECT count(*) FROM asked) - (SELECT count(*) FROM taken)"
_LABELS = "SELECT label FROM labelled WHERE label IS NOT NULL GROUP BY label ORDER BY count(*) DESC, label LIMIT $shown"


class EmptyDatasetError(FramemeshError):
    """No stored frame is what a dataset is to be made of."""

    reason = "EMPTY_DATASET"


@dataclass(frozen=True, slots=True)
class SeenObject:
    """One object in a frame; its edges in pixels."""

    name: str
    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """A frame of a dataset, with its label.

    Attributes:
        frame_id, camera, object_key, width_px, height_px: As in the lake's table of frames.
        captured_ns: Unix nanoseconds, to the microsecond.
        label_source: `model`, `correction` or `query`; empty where it has no label.
        label: The name of its class; empty where it has none.
        objects: The objects in it; none where its task is another.
        score: How sure the model is of its surest label; 1 where a person or a query says so.
        model_version: Which weights say so; empty where no model does.
    """

    frame_id: str
    camera: str
    captured_ns: int
    object_key: str
    width_px: int
    height_px: int
    label_source: str
    label: str
    objects: tuple[SeenObject, ...]
    score: float
    model_version: str


class Choosing:
    """A recipe's frames, looked for in tables that are as of its time.

    Args:
        tables: The lake's, as of the recipe's time.
        recipe: What is wanted.

    Attributes:
        classes: Names of the classes that the frames show, in the order of their numbers.
        count: How many frames.
        gone: How many frames of the recipe's query the lake has no more.

    Raises:
        FrameNotFoundError: There are no frames of one of the cameras.
        ModelNotFoundError: There are no answers of one of the models.
        InvalidRequestError: The query is wrong, or gives no frames.
        EmptyDatasetError: No frame is left; the message says by what.
        LakeUnavailableError: The lake can't be read now.
    """

    def __init__(self, tables: LakeTables, recipe: Recipe) -> None:
        self._tables = tables
        self._recipe = recipe
        self._is_boxes = recipe.task != CLASSIFICATION
        tables.check_cameras(recipe.choose.cameras)
        self._check_models()
        self.gone = self._take()
        self._narrow()
        (self.count,) = tables.ask("SELECT count(*) FROM chosen").rows[0]
        if not self.count:
            raise EmptyDatasetError(self._why_empty())
        self.classes: tuple[str, ...] = ()
        if recipe.labels != "none":
            self.classes = tuple(name for (name,) in tables.ask(_CLASSES, is_boxes=self._is_boxes).rows)
            if not self.classes:
                raise EmptyDatasetError(
                    f"no object in any of {self.count:,} frames: is {recipe.choose.model!r} an object detector?"
                )

    def frames(self) -> Iterator[Chosen]:
        """The frames, in an order that is the same each time and mixes cameras and times."""
        unlabelled = self._recipe.labels == "none"
        for row in self._tables.stream(_ROWS):
            *names, label_source, label, objects, score, version = row
            frame_id, camera, captured_us, object_key, width_px, height_px = names
            by_model = label_source == "model" and not unlabelled
            yield Chosen(
                frame_id,
                camera,
                captured_us * 1000,
                object_key,
                width_px,
                height_px,
                label_source="" if unlabelled else label_source,
                label="" if unlabelled or self._is_boxes else label,
                objects=tuple(SeenObject(**each) for each in objects) if self._is_boxes and not unlabelled else (),
                score=(score or 0.0) if by_model else 1.0,
                model_version=(version or "") if by_model else "",
            )

    def _check_models(self) -> None:
        wanted = [name for name in (self._recipe.choose.model, self._recipe.choose.disagrees_with) if name]
        for name in wanted:
            if name not in self._tables.models:
                known = ", ".join(self._tables.models) or "none"
                raise ModelNotFoundError(f"the lake has no answers of model {name!r}; it has those of: {known}")

    def _take(self) -> int:
        """Make the table of frames that are taken, before anything of labels; how many of the query's are gone."""
        choose = self._recipe.choose
        asked = "NULL::VARCHAR AS asked_label FROM found"
        if choose.query:
            self._ask(choose.query)
            asked = "asked.label AS asked_label FROM found JOIN asked USING (frame_id)"
        self._tables.ask(
            f"CREATE OR REPLACE TEMP TABLE taken AS WITH found AS ({_FRAMES}) SELECT found.*, {asked}",
            since=choose.since,
            until=choose.until,
            cameras=list(choose.cameras),
        )
        return int(self._tables.ask(_GONE).rows[0][0]) if choose.query else 0

    def _ask(self, query: str) -> None:
        """Make the table of what the recipe's query gives."""
        self._tables.keep("given", query)
        columns = [name for name, *_ in self._tables.ask("DESCRIBE given").rows]
        by_query = self._recipe.labels == "query"
        if "frame_id" not in columns or (by_query and "label" not in columns):
            wanted = "frame_id and label; or choose --labels none, corrections or results" if by_query else "frame_id"
            raise InvalidRequestError(f"the query gives {', '.join(columns)}: it has to give {wanted}")
        label = "label" if "label" in columns else "NULL"
        self._tables.ask(f"CREATE OR REPLACE TEMP TABLE asked AS {_ASKED}, {label}::VARCHAR AS label FROM given")
        for (frame_id,) in self._tables.ask(_TWO_LABELS).rows:
            raise InvalidRequestError(f"the query gives frame {frame_id} two labels: give each frame one")

    def _narrow(self) -> None:
        choose, source = self._recipe.choose, self._recipe.labels
        own = {"labels": list(choose.labels), "model": choose.model, "min_score": choose.min_score}
        times = {"since": choose.since, "until": choose.until}
        self._tables.ask(
            _JOIN,
            task=self._recipe.task,
            other=choose.disagrees_with,
            **own,
            **times,
        )
        self._tables.ask(_LABELLED, source=source, model=choose.model, is_boxes=self._is_boxes)
        self._tables.ask(
            _CHOSEN,
            labels=own["labels"],
            source=source,
            is_boxes=self._is_boxes,
            min_score=choose.min_score,
            max_score=choose.max_score,
            every_us=round(choose.every_seconds * _MICROSECONDS),
        )

    def _why_empty(self) -> str:
        counts = "SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM labelled)"
        taken, labelled = self._tables.ask(counts).rows[0]
        if not taken:
            return "the lake has no frames of these cameras and times, or of this query"
        if not labelled and self._recipe.labels == "corrections":
            return (
                f"nobody has said what any of these {taken:,} frames shows: correct some, name a --model whose answers "
                "label them, or take --labels none"
            )
        if not labelled:
            return f"none of these {taken:,} frames has a label from there: `framemesh replay` has a model answer them"
        there = ", ".join(name for (name,) in self._tables.ask(_LABELS, shown=_SHOWN).rows)
        return f"{labelled:,} frames have a label, and none is left by labels and scores; labels there are: {there}"
