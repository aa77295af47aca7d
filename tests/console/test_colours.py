"""What axe does not compute: that controls and the focus are seen (WCAG 2.2, 1.4.11)."""

import re
from pathlib import Path

import pytest

import console

_CSS = (Path(console.__file__).parent / "static" / "console.css").read_text()
_THEMES = {"light": ":root {", "dark": ':root[data-theme="dark"] {'}
_LEAST_CONTRAST = 3.0


def colours(theme: str) -> dict[str, str]:
    """The theme's colours by what they are for."""
    block = _CSS.partition(_THEMES[theme])[2].partition("}")[0]
    return dict(re.findall(r"--fm-([a-z-]+): (#[0-9a-f]{6});", block))


def luminance(colour: str) -> float:
    """Relative luminance of a colour in sRGB, as WCAG 2.2 defines it."""
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1, the same, to 21, black on white."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_computed_as_wcag_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", _THEMES)
@pytest.mark.parametrize("ground", ["ground", "surface"])
@pytest.mark.parametrize("mark", ["control", "accent", "good", "warn", "bad"])
def test_edges_of_controls_the_focus_and_states_stand_out(theme: str, ground: str, mark: str) -> None:
    found = colours(theme)
    assert contrast(found[mark], found[ground]) >= _LEAST_CONTRAST
