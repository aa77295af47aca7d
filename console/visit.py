"""One open page: who looks at it, in which language, and what it may use. Every page is built from one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from nicegui import Client, background_tasks, ui
from starlette.datastructures import QueryParams
from starlette.requests import Request

from console.access import Caller
from console.guard import caller_of
from console.mesh import Mesh
from console.parts import Trouble
from console.texts import Translate, language_of, marked, translator
from console.texts.messages import in_language
from framemesh.client import AsyncClient
from framemesh.errors import (
    BusUnavailableError,
    DeadlineError,
    FramemeshError,
    LakeUnavailableError,
    ModelUnavailableError,
)
from framemesh.rpc.tokens import Role
from framemesh.waiting import Backoff

_LATE = marked("No answer came in time. See Health for what is wrong, then try again.")
_AWAY = (BusUnavailableError, DeadlineError, LakeUnavailableError, ModelUnavailableError)
"""After which it may have been done or not. The last is what a gateway that can't be reached looks like."""
Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True)
class Visit:
    """What a page is built from.

    Attributes:
        caller: Who looks.
        language: Code of their language.
        translate: Puts texts into it; pages call it `_t`.
        place: What stands in the page's address in place of its `{names}`.
        query: What stands behind the `?` of the page's address.
        mesh: NATS and the lake, to read.
        client: The gateway, which decides by the caller's own token what they may do.
        trouble: The page's line that says what is wrong with the mesh.
        opened: The open page itself, in NiceGUI.
    """

    caller: Caller
    language: str
    translate: Translate
    place: Mapping[str, str]
    query: QueryParams
    mesh: Mesh
    client: AsyncClient
    trouble: Trouble
    opened: Client

    @staticmethod
    async def of(request: Request, mesh: Mesh) -> "Visit":
        """The visit that a request for a page begins."""
        caller = caller_of(request)
        language = language_of(request)
        client = await mesh.client(caller.token)
        translate = translator(language)
        trouble = Trouble(translate)
        return Visit(
            caller, language, translate, request.path_params, request.query_params, mesh, client, trouble,
            opened=ui.context.client,
        )  # fmt: skip

    def may(self, role: Role) -> bool:
        """Whether the caller's role reaches so far: what it doesn't, a page leaves out or explains."""
        return self.caller.may(role)

    def run(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run something beside the open page, inside the element that is current now; it ends with the page."""
        here = ui.context.slot.parent

        async def inside() -> None:
            with here:
                await work

        task: asyncio.Task[None] = background_tasks.create(inside(), name=name)
        ui.context.client.on_delete(task.cancel)
        return task

    def follow(
        self, changes: Callable[[], AsyncIterator[Seen]], show: Callable[[Seen], Awaitable[None] | None]
    ) -> None:
        """Show each change, for as long as the page is open, such as `follow(visit.client.watch_models, table.show)`.

        While they can't be had, a line above the page says so and it is tried again.

        Args:
            changes: Opens the changes, again after each failure.
            show: Called with each; it may be a coroutine.
        """
        self.run(self._follow(changes, show), name="follow")

    async def _follow(
        self, changes: Callable[[], AsyncIterator[Seen]], show: Callable[[Seen], Awaitable[None] | None]
    ) -> None:
        who = object()
        backoff = Backoff(0.5, 5.0)
        while True:
            try:
                async for seen in changes():
                    self.trouble.over(who)
                    backoff.reset()
                    shown = show(seen)
                    if shown is not None:
                        await shown
            except FramemeshError as error:
                self.trouble.tell(who, self.words(error))
            await asyncio.sleep(backoff.next_seconds())

    async def attempt(self, work: Awaitable[Seen]) -> Seen | None:
        """Await something of the mesh; where it fails, the page says why and what to do, and this is none."""
        try:
            return await work
        except _AWAY as error:
            why = self.words(error)
            self.notify_error(self.translate("Maybe not done, try again in a moment: {problem}", problem=why))
        except FramemeshError as error:
            self.notify_error(error)
        return None

    def words(self, error: FramemeshError) -> str:
        """What went wrong with a call, as it is told to the visitor."""
        if isinstance(error, DeadlineError):
            return self.translate(_LATE)
        return in_language(error, self.translate)

    def notify(self, words: str, kind: Literal["positive", "warning"]) -> None:
        """Tell something for a few seconds; nobody, where the page was left meanwhile."""
        self._notify(words, type=kind)

    def notify_error(self, problem: FramemeshError | str) -> None:
        """Tell what went wrong, until it is closed; nobody, where the page was left meanwhile."""
        words = problem if isinstance(problem, str) else self.words(problem)
        self._notify(words, type="negative", multi_line=True, close_button=self.translate("Close"), timeout=0)

    def _notify(self, words: str, **options: Any) -> None:
        if not self.opened.is_deleted:
            with self.opened:  # the element that was clicked may be gone
                ui.notify(words, **options)
