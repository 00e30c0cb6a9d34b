"""What attacks share that look for a size or a strength: scales, directions, harm, searches along a line."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from byzsim.ops import masked_mean, masked_std, per_row_sum, sq_distances_to, varying_as
from byzsim.types import Traced
from jaxtyping import Array, Bool, Float


def alie_z(
    byz: Bool[Array, " m"], supporters: Literal["honest", "all"] = "honest", *, clamp: bool = True
) -> Float[Array, ""]:
    """The largest shift, in standard deviations, that still finds enough supporters (Baruch et al. 2019).

    z_max = Phi^-1((n - s) / n), s = max(floor(m / 2 + 1) - n_byz, 1), n = m - n_byz, or m if supporters are sought
    among "all"; at least 0 if clamped; the fraction is kept within 1e-6 of 0 and 1.
    """
    m = len(byz)
    among = (~byz).sum() if supporters == "honest" else m
    needed = jnp.maximum(m // 2 + 1 - byz.sum(), 1)
    fraction = (among - needed) / jnp.maximum(among, 1)
    return jax.scipy.stats.norm.ppf(jnp.clip(fraction, 0.5 if clamp else 1e-6, 1 - 1e-6))


def perturbation(
    direction: Literal["unit", "sign", "std"],
    updates: Float[Array, "m d"],
    byz: Bool[Array, " m"],
    mean: Float[Array, " d"],
) -> Float[Array, " d"]:
    """Where min-max and min-sum move: mean / ||mean|| (zero if that is), its sign, or the honest deviation (ddof 1)."""
    if direction == "sign":
        return jnp.sign(mean)
    if direction == "std":
        return masked_std(updates, ~byz, mean, ddof=1)
    length = jnp.linalg.norm(mean)
    return mean / jnp.where(length > 0, length, 1.0)


def shift_terms(
    updates: Float[Array, "m d"], mean: Float[Array, " d"], p: Float[Array, " d"]
) -> tuple[Float[Array, " m"], Float[Array, " m"], Float[Array, ""]]:
    """a, b, c with ||mean - gamma p - g_i||^2 = a_i - 2 gamma b_i + gamma^2 c for all gamma; one read."""
    b = per_row_sum(lambda entry, mean, p: (mean - entry) * p, updates, mean, p)
    return sq_distances_to(updates, mean), b, jnp.vdot(p, p)


def deviation_from_honest_mean(
    p: Float[Array, " d"],
    updates: Float[Array, "m d"],
    byz: Bool[Array, " m"],
    aggregate: Callable[[Float[Array, "m d"]], Float[Array, " d"]],
) -> Float[Array, ""]:
    """Squared distance of the aggregate from the honest mean when every Byzantine row is p; +inf if not finite."""
    missed = aggregate(jnp.where(byz[:, None], p, updates)) - masked_mean(updates, ~byz)
    harm = jnp.vdot(missed, missed)
    return jnp.where(jnp.isfinite(harm), harm, jnp.inf)


LineSearch = Literal["up_and_down", "up"]
LINE_SEARCHES: dict[LineSearch, dict[str, Any]] = {
    "up_and_down": {"evals": 16, "delta": 1.0},
    "up": {"evals": 20, "delta": 10.0, "both_ways": False},
}
"""How `line_maximize` is called: as in ByzantineMomentum, as in byzfl."""


def line_maximize(
    score: Callable[[Float[Array, ""]], Float[Array, ""]],
    rows: Float[Array, "m d"],
    *,
    evals: int = 16,
    start: float = 0.0,
    delta: float = 1.0,
    ratio: float = 0.8,
    both_ways: bool = True,
) -> Float[Array, ""]:
    """The x >= 0 of the highest score among the `evals` that are tried, and of equal scores the first.

    The first x is `start`. While x gets better, the next is best + delta, and delta doubles. From the first x that is
    no better, delta shrinks by `ratio` each time, and the last tried x moves by delta towards the best; if it is the
    best itself, it moves down, by a step that is halved until x is not negative (ByzantineMomentum).

    Args:
        score: what is maximised.
        rows: what it is computed from.
        evals: number of x that are tried.
        start: the first x.
        delta: the first step.
        ratio: factor by which steps shrink.
        both_ways: if False, the next x is best + delta to the end, so that nothing below the best is tried (byzfl).
    """

    def attempt(carry, i):
        best, top, x, delta, growing = carry
        # the next x: while growing beyond the best; later from the last x towards the best
        if both_ways:
            x = jnp.where(growing, best + delta, jnp.where(x < best, x + delta, _step_down(x, delta)))
        else:
            x = best + delta
        x = jnp.where(i == 0, start, x)  # the first of all
        y = score(x)
        better = y > top
        # delta doubles while x gets better; from the first x that does not (start is none of them) it only shrinks
        grown = delta * jnp.where(growing & better, 2.0, ratio)
        growing = growing & (better | (i == 0))
        best, top = jnp.where(better, x, best), jnp.where(better, y, top)
        return (best, top, x, jnp.where(i == 0, delta, grown), growing), None

    dtype = jax.eval_shape(score, jnp.float32(start)).dtype
    first = tuple(jnp.asarray(value, dtype) for value in (start, -jnp.inf, start, delta))
    return jax.lax.scan(attempt, varying_as((*first, jnp.asarray(True)), rows), jnp.arange(evals))[0][0]


def _step_down(x: Float[Array, ""], delta: Float[Array, ""]) -> Float[Array, ""]:
    """x - delta, with delta halved until this is not negative."""
    return jax.lax.fori_loop(0, 60, lambda _, lower: jnp.where(lower < 0, (lower + x) / 2, lower), x - delta)


def largest_step(
    fits: Callable[[Float[Array, ""]], Bool[Array, ""]], rows: Float[Array, "m d"], first: Traced
) -> Float[Array, ""]:
    """The last gamma that fits in the halving search of the NDSS 2021 notebooks; 0 if none fits.

    The search starts with gamma = `first` and step = `first` / 2. A gamma that fits grows by the step, another shrinks
    by it, and the step is halved, until gamma and the last one that fits are within 1e-5, at most 50 times. `rows` are
    what `fits` is computed from.
    """

    def attempt(carry, _):
        gamma, step, found = carry
        # once gamma and the last one that fits are within 1e-5, nothing changes any more
        going, good = jnp.abs(found - gamma) > 1e-5, fits(gamma)
        found = jnp.where(going & good, gamma, found)
        gamma = jnp.where(going, jnp.where(good, gamma + step, gamma - step), gamma)
        return (gamma, jnp.where(going, step / 2, step), found), None

    begin = varying_as(jnp.asarray(first, jnp.result_type(first, jnp.float32)), rows)
    return jax.lax.scan(attempt, (begin, begin / 2, jnp.zeros_like(begin)), length=50)[0][2]
