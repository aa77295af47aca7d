"""The pages: each a module with its `PAGE`, and here the one list of them, in the order of the navigation."""

from console.page import Page
from console.pages import live

PAGES: tuple[Page, ...] = (live.PAGE,)
