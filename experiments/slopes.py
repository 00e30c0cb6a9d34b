"""Slopes of measured numbers in a log-log plot, with their intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

WIDTH = 1.96
"""half an interval of 95 %, in standard errors"""


class Slope(NamedTuple):
    """A fitted exponent."""

    value: float
    error: float
    """standard error; NaN for two points without errors of their own"""

    @property
    def half(self) -> float:
        """Half the width of the 95 % interval."""
        return WIDTH * self.error


NO_SLOPE = Slope(np.nan, np.nan)


def fit(x: Sequence[float], y: Sequence[float], errors: Sequence[float]) -> Slope:
    """The exponent p of y = c x^p, by least squares of log y on log x.

    Points are weighted by the standard errors of y, as log y has the error e / y. Where the points lie further from
    the line than these errors explain, the error of the slope grows by that factor (Birge's ratio).

    Args:
        errors: standard errors of y, independent of each other.
    Returns:
        `NO_SLOPE` for fewer than two points, or where one of them is not a finite number above 0.
    """
    size, value, error = (np.asarray(values, float) for values in (x, y, errors))
    if len(size) < 2 or not (np.isfinite(value) & (value > 0) & (error > 0)).all():
        return NO_SLOPE
    weights = value / error
    matrix = np.stack([np.log(size), np.ones(len(size))], axis=1) * weights[:, None]
    found = np.linalg.lstsq(matrix, weights * np.log(value), rcond=None)[0]
    rest = weights * np.log(value) - matrix @ found
    spread = max(1.0, rest @ rest / (len(x) - 2)) if len(x) > 2 else 1.0
    return Slope(float(found[0]), float(np.sqrt(np.linalg.inv(matrix.T @ matrix)[0, 0] * spread)))
