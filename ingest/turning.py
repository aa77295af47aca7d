"""Turns decoded frames in their own planes: 0.4 ms of 720p, where turning the RGB that is made of it takes 2 to 8."""

from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

_FILTERS: dict[int, tuple[tuple[str, str | None], ...]] = {
    90: (("transpose", "cclock"),),
    180: (("hflip", None), ("vflip", None)),
    270: (("transpose", "clock"),),
}
_UNSPECIFIED = 0  # AVCOL_RANGE_UNSPECIFIED


class Turner:
    """Turns one camera's frames. What FFmpeg needs for it is made once for each kind of frame."""

    def __init__(self) -> None:
        self._kind: tuple[object, ...] | None = None
        self._graph = Graph()

    def turned(self, frame: VideoFrame, degrees: int) -> VideoFrame:
        """The frame after a turn counter-clockwise by a multiple of 90 degrees, either way.

        Raises:
            FFmpegError: It is in a format that FFmpeg can't turn.
        """
        degrees %= 360
        if degrees == 0:
            return frame
        kind = (degrees, frame.width, frame.height, frame.format.name)
        if kind != self._kind:
            self._graph = _graph(frame, degrees)
            self._kind = kind
        colour_range = frame.color_range
        frame.color_range = _UNSPECIFIED  # PyAV can't tell the filters of any other, and they would warn of each frame
        try:
            self._graph.vpush(frame)
        finally:
            frame.color_range = colour_range
        made = self._graph.vpull()
        made.color_range = colour_range
        return made


def _graph(frame: VideoFrame, degrees: int) -> Graph:
    graph = Graph()
    graph.threads = 1
    steps = [
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 90_000)),
        *(graph.add(name, arguments) for name, arguments in _FILTERS[degrees]),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*steps)
    graph.configure()
    return graph
