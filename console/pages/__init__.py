"""The pages: each a module with its `PAGE`, and here the one list of them, in the order of the navigation."""

from console.page import Page
from console.pages import compare, dead_letters, frame, health, lake, live, models, trying

PAGES: tuple[Page, ...] = (
    live.PAGE,
    models.PAGE,
    lake.PAGE,
    dead_letters.PAGE,
    frame.PAGE,
    compare.PAGE,
    trying.PAGE,
    health.PAGE,
)
