"""How sure a share is. Pure, and without a library: whoever trains has not what comparisons need."""

import math
from statistics import NormalDist

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""How many standard deviations of a normal distribution that is to each side."""


def wilson(share: float, trials: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share of independent trials (one at least): fit for few, and near 0 and 1."""
    divisor = 1 + Z**2 / trials
    centre = (share + Z**2 / (2 * trials)) / divisor
    reach = Z / divisor * math.sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2))
    return max(0.0, min(share, centre - reach)), min(1.0, max(share, centre + reach))
