"""The form that deploys a model, or replaces one."""

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.validation_element import ValidationElement

from console.pages.models_check import Problem, clash, problem_of, told
from console.pages.models_order import POLICIES, PRECISIONS, RUNTIMES, TASKS, Order
from console.parts import number_field
from console.texts import Translate, marked
from framemesh.errors import FramemeshError, InvalidSpecError, ModelChangedError
from framemesh.specs import MAX_FPS, MAX_REPLICAS, MIN_FPS
from framemesh.v1.model_pb2 import ModelSpec

_POLICIES = {
    "latest": marked("Newest frame"),
    "every": marked("Every frame"),
    "fps": marked("Limited rate"),
}
_MEANINGS = {
    "latest": marked("The newest frame of each camera whenever the model is free; the others are skipped and counted."),
    "every": marked("Each stored frame, in order, however far behind."),
    "fps": marked("As the newest frame, but at most so many a second of each camera."),
}


class DeployForm:
    """A dialog with the form. Made inside the page, once.

    Args:
        translate: For our own texts.
        quick: Sources that a click fills in.
        cameras: Names the cameras that there are now.
        deploy: Called with what was filled in, and the generation that it may replace: 0 for a new model.
        failed: Called with an error of that which has nothing to do with what was filled in.
        closed: Called once the form is put away, be it sent or not.
    """

    def __init__(
        self,
        translate: Translate,
        *,
        quick: tuple[str, ...],
        cameras: Callable[[], list[str]],
        deploy: Callable[[ModelSpec, int], Awaitable[None]],
        failed: Callable[[FramemeshError], None],
        closed: Callable[[], None],
    ) -> None:
        self._t = translate
        self._cameras_now = cameras
        self._deploy = deploy
        self._failed = failed
        self._fields: dict[str, ValidationElement[Any]] = {}
        self._start = ""
        self._generation = 0
        with (
            ui.dialog() as self._dialog,
            ui.card().classes("fm-dialog"),
            ui.element("form").classes("fm-stack").props("novalidate") as form,
        ):
            with ui.element("h2"):
                self._title = ui.label()
            self._main(quick)
            with ui.expansion(translate("More")).classes("fm-more") as self._more:
                self._rest()
            self._problem = ui.label().classes("fm-problem").props("role=alert")
            with ui.element("div").classes("fm-row fm-dialog-buttons"):
                ui.button(translate("Cancel"), on_click=self._dialog.close).props("flat")
                self._submit = ui.button(translate("Deploy")).props("type=submit")
        form.on("submit.prevent", self._send)
        # Not of the name: the browser may tell that it was left after the mesh has said that it is taken.
        for name in ("source", "policy", "replicas"):
            self._fields[name].on("blur", lambda _, name=name: self._check(name))
        self._dialog.on_value_change(lambda event: None if event.value else closed())

    def open(self, order: Order, *, generation: int = 0, wrong: InvalidSpecError | None = None) -> None:
        """Show the form, filled in, with what was wrong with what fills it in.

        Args:
            order: What fills it in.
            generation: Of the model that it replaces, as it is seen now; 0 for a new one.
            wrong: What was wrong.
        """
        _t = self._t
        self._generation, replaces = generation, generation > 0
        words = _t("Replace {model}", model=order.name) if replaces else _t("Deploy a model")
        self._title.set_text(words)
        self._submit.set_text(_t("Replace") if replaces else _t("Deploy"))
        self._name.set_enabled(not replaces)
        self._cameras.set_options(sorted({*self._cameras_now(), *order.cameras}))
        self._fill(order)
        self._more.set_value(bool(order.task or order.revision or order.labels or order.shadow))
        self._complain(None if wrong is None else told(wrong, _t))
        self._dialog.open()

    def _fill(self, order: Order) -> None:
        self._source.value = order.source
        self._name.value = order.name
        self._replicas.value = order.replicas
        self._policy.value = order.policy
        self._fps.value = order.fps
        self._cameras.value = list(order.cameras)
        self._runtime.value = order.runtime
        self._offer_precisions()
        self._precision.value = order.precision
        self._task.value = order.task
        self._revision.value = order.revision
        self._labels.value = list(order.labels)
        self._shadow.value = order.shadow
        self._start = order.start

    def _main(self, quick: tuple[str, ...]) -> None:
        _t = self._t
        self._source = ui.input(_t("Hugging Face model"), placeholder="google/vit-base-patch16-224")
        self._source.props("autofocus autocapitalize=off spellcheck=false")
        _hint(self._source, _t("Or a folder of the deployer, or lake://models/NAME/VERSION"))
        self._fields["source"] = self._source
        if quick:
            with ui.element("div").classes("fm-row fm-quick"):
                ui.label(_t("Or try")).classes("fm-muted fm-small")
                for source in quick:
                    chosen = ui.button(source, on_click=lambda _, source=source: self._choose(source))
                    chosen.props("outline padding='2px 10px'").classes("fm-small")
        with ui.element("fieldset").classes("fm-fieldset"):
            with ui.element("legend"):
                ui.label(_t("Which frames it sees"))
            self._policy = ui.toggle({key: _t(_POLICIES[key]) for key in POLICIES}, value="latest")
            self._policy.props("unelevated no-caps spread").classes("fm-toggle")
            meaning = ui.label(_t(_MEANINGS["latest"])).classes("fm-muted fm-small")
            self._fps = number_field(_t("Frames a second"), least=MIN_FPS, most=MAX_FPS, step=1)
            self._fps.bind_visibility_from(self._policy, "value", value="fps")
            self._policy.on_value_change(lambda event: meaning.set_text(_t(_MEANINGS[event.value])))
            self._fields["policy"] = self._fps
        with ui.element("div").classes("fm-pair"):
            self._replicas = number_field(_t("Servers"), least=0, most=MAX_REPLICAS, step=1)
            self._cameras = ui.select([], label=_t("Cameras"), multiple=True, value=[]).props("use-chips")
            _hint(self._cameras, _t("None means all, also those to come"))
            self._fields |= {"replicas": self._replicas, "cameras": self._cameras}

    def _rest(self) -> None:
        _t = self._t
        with ui.element("div").classes("fm-stack"):
            self._name = ui.input(_t("Name in this mesh")).props("autocapitalize=off spellcheck=false")
            _hint(self._name, _t("Empty means the last part of the model's own name"))
            with ui.element("div").classes("fm-pair"):
                self._runtime = ui.select(
                    {"onnx": "ONNX Runtime", "torch": "PyTorch"}, label=_t("Runtime"), value=RUNTIMES[0]
                )
                self._runtime.on_value_change(self._offer_precisions)
                self._precision = ui.select(list(PRECISIONS[RUNTIMES[0]]), label=_t("Precision"), value="fp32")
            self._task = ui.input(_t("Task"), autocomplete=list(TASKS)).props("autocapitalize=off spellcheck=false")
            _hint(self._task, _t("Empty means what its config.json says"))
            self._revision = ui.input(_t("Revision")).props("autocapitalize=off spellcheck=false")
            _hint(self._revision, _t("A branch, tag or commit of the hub"))
            self._labels = ui.input_chips(_t("Labels to look for")).props("outlined dense")
            _hint(self._labels, _t("For zero-shot models: type one and press Enter"))
            self._shadow = ui.checkbox(_t("Shadow: its answers are kept to be compared, and nobody is given them"))
        self._fields |= {
            "name": self._name,
            "runtime": self._runtime,
            "precision": self._precision,
            "task": self._task,
            "revision": self._revision,
            "labels": self._labels,
        }

    def _choose(self, source: str) -> None:
        self._source.value = source
        self._complain(None)

    def _offer_precisions(self) -> None:
        offered = PRECISIONS[self._runtime.value]
        kept = self._precision.value if self._precision.value in offered else offered[0]
        self._precision.set_options(list(offered), value=kept)

    def _order(self) -> Order:
        return Order(
            source=self._source.value or "",
            name=self._name.value or "",
            replicas=self._replicas.value or "",
            policy=self._policy.value,
            fps=self._fps.value or "",
            cameras=tuple(self._cameras.value or ()),
            runtime=self._runtime.value,
            precision=self._precision.value,
            task=self._task.value or "",
            revision=self._revision.value or "",
            labels=tuple(self._labels.value or ()),
            shadow=bool(self._shadow.value),
            start=self._start,
        )

    def _check(self, left: str) -> None:
        """Say what is wrong with a field once somebody leaves it; of no source the button does, maybe just before."""
        if left == "source" and not self._source.value:
            return
        problem = problem_of(self._order(), self._t)
        self._fields[left].error = problem.words if problem is not None and problem.field == left else None

    async def _send(self) -> None:
        order = self._order()
        problem = problem_of(order, self._t)
        self._complain(problem)
        if problem is not None or "loading" in self._submit.props:
            return
        self._submit.props("loading")
        try:
            await self._send_spec(order.spec())
        finally:
            self._submit.props(remove="loading")

    async def _send_spec(self, spec: ModelSpec) -> None:
        """Deploy a model, but neither in place of one that nobody has named nor of one that nobody has seen."""
        try:
            await self._deploy(spec, self._generation)
        except FramemeshError as error:
            problem = clash(spec.name, error, self._t)
            if problem is None:
                self._failed(error)
            if isinstance(error, ModelChangedError):  # which is told: sending it once more means it
                self._generation = int(error.values["generation"])
            self._complain(problem)
        else:
            self._dialog.close()

    def _complain(self, problem: Problem | None) -> None:
        """Show a problem at the field that it is about, or else at the end; none takes it back."""
        about = problem.field if problem is not None else ""
        if about not in self._fields or (about == "policy" and self._policy.value != "fps"):
            about = ""
        for name, element in self._fields.items():
            element.error = problem.words if problem is not None and name == about else None
        self._problem.set_text(problem.words if problem is not None and not about else "")
        if about in {"name", "runtime", "precision", "task", "revision", "labels"}:
            self._more.set_value(True)


def _hint(element: ui.element, words: str) -> None:
    element.props["hint"] = words
