"""Byzantine fractions: how they are written, and what whole number of workers they are."""

import math
from collections.abc import Sequence
from decimal import Decimal

from byzsim.experiments.errors import UserError


def fraction(text: str) -> float:
    """Parse a fraction, written as a number or as a count of workers out of all: 0.2 or 2/10.

    Raises:
        ValueError: for any other text.
    """
    try:
        part, slash, whole = text.partition("/")
        return int(part) / int(whole) if slash else float(text)
    except (ValueError, ArithmeticError):
        raise ValueError(f"{text!r} is neither a number such as 0.2 nor a count of workers such as 2/10") from None


def workers(alpha: float, m: int) -> int:
    """alpha times m as a whole number of workers; 0.1818 counts as 2 of 11.

    Raises:
        UserError: it is not whole, with the nearest fractions that are.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha={alpha:g} is not a fraction from 0 to 1")
    n_byz = count(alpha, m)
    if n_byz is None:
        low = int(alpha * m)
        raise UserError(
            f"alpha={alpha:g} of m={m} is {alpha * m:g} workers, not a whole number. Try {low}/{m} or {low + 1}/{m}."
        )
    return n_byz


def count(alpha: float, m: int) -> int | None:
    """The whole number of workers that alpha stands for, given four of its digits; None if there is none."""
    if not 0 <= alpha <= 1:
        return None
    n = round(alpha * m)
    return n if abs(alpha * m - n) <= max(1e-6, min(5.001e-5 * m, 0.01)) else None


def exact(alpha: float, m: int) -> float:
    """The fraction that alpha stands for: 2 / 11 for 0.1818 of 11; alpha itself if it stands for none."""
    n = count(alpha, m)
    return n / m if n else alpha


def nearest(text: str, known: Sequence[float]) -> list[float]:
    """The nearest known fraction if at least two given digits agree with it (0.18 is 2/11); otherwise none."""
    try:
        given = fraction(text)
    except ValueError:
        return []
    if not (math.isfinite(given) and known):
        return []
    digits = 0 if "/" in text else -int(Decimal(text).as_tuple().exponent)
    near = min(known, key=lambda each: abs(each - given))
    return [near] if abs(near - given) <= (0.5 * 0.1**digits if digits > 1 else 0) + 1e-9 else []
