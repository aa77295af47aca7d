"""An element that takes one photo from whoever looks at the page: chosen, dropped, pasted, or taken with a phone."""

from collections.abc import Callable
from typing import Final

from nicegui import app, events, ui
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from console.guard import caller_of
from console.texts.messages import in_language
from console.visit import Visit
from framemesh.errors import ImageTooLargeError, InvalidImageError
from framemesh.images import read_header
from framemesh.limits import ImageLimits, check_size
from framemesh.words import size

_ACCEPT: Final = "image/jpeg,image/png,image/webp"


class PhotoPicker(ui.element, component="photo_picker.js"):
    """Takes a photo, whose bytes go to `on_photo` and nowhere else.

    Args:
        visit: Whose page it is on; nobody else can send to it.
        max_bytes: What is larger is refused before it is sent, or else before it is read whole. What has more pixels
            than the gateway takes, or is no image, is refused too, and no browser draws it.
        stored: Address of a picture to show at first; empty for none.
        on_photo: Called with its bytes, and the address under which this browser alone has it.
        on_refused: Called with why it was not taken.
    """

    def __init__(
        self,
        visit: Visit,
        *,
        max_bytes: int,
        stored: str,
        on_photo: Callable[[bytes, str], None],
        on_refused: Callable[[str], None],
    ) -> None:
        super().__init__()
        _t = self._t = visit.translate
        self._session = visit.caller.session
        self._limits = ImageLimits(max_bytes=max_bytes)
        self._on_photo = on_photo
        self._url = f"/try/photos/{self.client.id}-{self.id}"  # the client's id is random, and only its browser's
        self._props["url"] = self._url
        self._props["accept"] = _ACCEPT
        self._props["stored"] = stored
        self._props["max-bytes"] = max_bytes
        self._props["words"] = {
            "photo": _t("Your photo"),
            "drop": _t("Drop a photo here, or paste one"),
            "choose": _t("Choose a photo"),
            "another": _t("Another photo"),
            "take": _t("Take a photo"),
            "limit": _t("JPEG, PNG or WebP, at most {size}. It is not kept.", size=size(max_bytes)),
        }
        self.on("refused", lambda event: on_refused(str(event.args)))
        self.on("large", lambda event: on_refused(self._too_large(event)))
        app.post(self._url, include_in_schema=False)(self._receive)

    def send_again(self) -> None:
        """Have the browser send the same photo once more; nothing where there is none."""
        self.run_method("send")

    async def _receive(self, request: Request) -> Response:
        if caller_of(request).session != self._session:
            return PlainTextResponse("this page is another visitor's", 403)
        preview = request.headers.get("framemesh-preview", "")
        if not preview.startswith("blob:"):
            return PlainTextResponse("photos come from the page alone", 400)
        body = bytearray()
        try:
            check_size(int(request.headers.get("content-length", "0")), self._limits)
            async for part in request.stream():
                body.extend(part)
                check_size(len(body), self._limits)
            read_header(bytes(body), self._limits)
        except ImageTooLargeError as error:
            return PlainTextResponse(in_language(error, self._t), 413)
        except InvalidImageError as error:
            return PlainTextResponse(in_language(error, self._t), 415)
        with self:
            self._on_photo(bytes(body), preview)
        return Response(status_code=204)

    def _too_large(self, event: events.GenericEventArguments) -> str:
        try:
            check_size(int(event.args), self._limits)
        except (ImageTooLargeError, TypeError, ValueError) as error:
            return in_language(error, self._t)
        return ""

    def _handle_delete(self) -> None:
        app.remove_route(self._url)
        super()._handle_delete()
