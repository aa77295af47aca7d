"""Models: what is deployed and how it does; deploying, scaling, replacing and deleting."""

import asyncio
from collections import Counter

from nicegui import ui

from console.looking import Look
from console.page import Page
from console.pages.models_card import Actions, ModelCard
from console.pages.models_form import DeployForm
from console.pages.models_log import LogPane
from console.pages.models_order import Order, of_spec, of_text
from console.pages.models_view import ModelView, figures_view, going_on, model_view, wanted_since_ns
from console.parts import Confirmation, empty
from console.texts import marked
from console.visit import Visit
from framemesh.rpc.tokens import Role
from framemesh.v1.model_pb2 import Model, ModelSpec

_TICK_SECONDS = 1.0


async def build(visit: Visit) -> None:
    """The cards, the form, and what keeps them up to date."""
    board = _Board(visit)
    with board.top:
        visit.follow(visit.client.watch_models, board.show)
        visit.follow(visit.mesh.looking(visit.client).changes, board.look)
    visit.run(board.tick(), name="tick")
    if board.may_change and (asked := visit.query.get("model")):
        order, wrong = of_text(asked)
        board.form.open(order, wrong=wrong)


class _Board:
    """All of one open page."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._t = _t = visit.translate
        self._models: dict[str, Model] = {}
        self._cards: dict[str, ModelCard] = {}
        self._waiting: dict[str, int] = {}
        self._known_cameras: list[str] = []
        self._deleted = ""
        self.may_change = visit.may(Role.ADMIN)
        self._log = LogPane(visit.mesh.hearing, self._t)
        words = _t("Its servers end. Its results stay, and so do its versions in the lake.")
        self._confirm = Confirmation(_t, words, color="negative")
        self.form = DeployForm(
            self._t,
            quick=visit.mesh.quick_models,
            cameras=lambda: self._known_cameras,
            deploy=self._deploy,
            failed=visit.notify_error,
            closed=lambda: ui.navigate.history.replace(PAGE.path),  # or a reload would fill the form in again
        )
        self.top = ui.element("div").classes("fm-models-top")
        """Where it is said that the mesh does not answer."""
        self._lead()
        self._nothing = self._empty()
        self._nothing.set_visibility(False)
        self._list = ui.element("ul").classes("fm-grid fm-models")
        since = f"{visit.mesh.hearing.since:%Y-%m-%d %H:%M}"
        words = _t("Failures are counted since {time} UTC, when this console started.", time=since)
        ui.label(words).classes("fm-muted fm-small")

    def look(self, look: Look) -> None:
        """Keep what waits for each model, and the cameras to choose from."""
        self._waiting = {each.model.spec.name: each.waiting_frame_count for each in look.status.models}
        stored = {camera.camera for camera in look.status.cameras}
        self._known_cameras = sorted(stored | {camera.name for camera in look.cameras})

    async def tick(self) -> None:
        """Show every model's newest figures, again and again."""
        while True:
            self._tick()
            await asyncio.sleep(_TICK_SECONDS)

    def show(self, models: list[Model]) -> None:
        """Show the models as they are now."""
        self._models = {model.spec.name: model for model in models}
        for name in self._cards.keys() - self._models.keys():
            self._cards.pop(name).remove()
            if name == self._deleted:  # whose button had the focus
                ui.run_javascript(f"document.getElementById('{self._deploy_button.html_id}').focus()")
        views = [model_view(model) for model in models]
        self._summary.set_text(self._summed(views))
        for view in views:
            name = view.name
            if name in self._cards:
                self._cards[name].show(view)
                continue
            with self._list:
                self._cards[name] = ModelCard(view, self._t, self._log.open, self._actions())
        self._tick()
        self._nothing.set_visibility(not models)

    def _summed(self, views: list[ModelView]) -> str:
        """How many models are in which state, such as `3 models: 2 ready, 1 failed`."""
        states = Counter(view.state for view in views)
        counts = ", ".join(f"{count} {self._t(state).lower()}" for state, count in states.most_common())
        return self._t("{count} deployed: {counts}", count=len(views), counts=counts) if views else ""

    def _tick(self) -> None:
        hearing = self._visit.mesh.hearing
        for name, card in self._cards.items():
            found = hearing.figures(name, wanted_since_ns(self._models[name]))
            card.tick(figures_view(found, self._waiting.get(name)))

    def _lead(self) -> None:
        _t = self._t
        with ui.element("div").classes("fm-row fm-spread"):
            with ui.element("div").props("role=status"):
                self._summary = ui.label(_t("Looking …")).classes("fm-muted")
            if self.may_change:
                self._deploy_button = ui.button(
                    _t("Deploy a model"), icon="add", on_click=lambda: self.form.open(Order())
                )
            else:
                ui.label(_t("You may look. To deploy or change models takes a token of role admin.")).classes(
                    "fm-muted"
                )

    def _empty(self) -> ui.element:
        _t = self._t
        if not self.may_change:
            words = _t("Somebody with a token of role admin can deploy one.")
            return empty("view_in_ar", _t("No model is deployed yet"), words)
        words = _t("Name one from Hugging Face: it is downloaded, exported and started by itself.")
        with empty("view_in_ar", _t("No model is deployed yet"), words) as element:
            for number, source in enumerate(self._visit.mesh.quick_models):
                spec = Order(source=source).spec()
                chosen = ui.button(_t("Try {model}", model=source), on_click=lambda _, spec=spec: self._try(spec))
                chosen.props("" if number == 0 else "outline")
            ui.button(_t("Name one"), on_click=lambda: self.form.open(Order())).props("flat")
        return element

    def _actions(self) -> Actions | None:
        return Actions(self._scale, self._replace, self._confirm_delete) if self.may_change else None

    async def _try(self, spec: ModelSpec) -> None:
        await self._visit.attempt(self._deploy(spec, 0))

    async def _deploy(self, spec: ModelSpec, generation: int) -> None:
        await self._visit.client.deploy_model(spec, expected_generation=generation)

    async def _scale(self, name: str, replicas: int) -> None:
        await self._visit.attempt(self._visit.client.scale_model(name, replicas))

    def _replace(self, name: str) -> None:
        if (model := self._models.get(name)) is not None:
            self.form.open(of_spec(going_on(model)), generation=model.generation)

    async def _confirm_delete(self, name: str) -> None:
        _t = self._t
        if await self._confirm.asked(_t("Delete {model}?", model=name), _t("Delete {model}", model=name)):
            self._deleted = name
            await self._visit.attempt(self._visit.client.delete(name))


PAGE = Page("/models", marked("Models"), "view_in_ar", Role.READ, build)
