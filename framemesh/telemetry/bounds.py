"""Bounds of histograms, the same ones in every service, so that their panels compare."""

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


def seconds(least: float, most: float) -> tuple[float, ...]:
    """For durations, from one such bound to another, both of them included."""
    return tuple(bound for bound in _SECONDS if least <= bound <= most)
