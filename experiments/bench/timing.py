"""Medians of interleaved measurements: every side in turn, again and again, so that a busy minute hits all of them."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

Candidate = Callable[[int], float]
"""n -> seconds of n calls"""


class Timing(NamedTuple):
    """A side's time for one call."""

    ms: float
    """median over the samples"""
    spread: float
    """interquartile range over the median; 0 for a single sample"""
    n: int
    """samples"""


class Failed(Exception):
    """Why a side cannot do it, in its own words."""


class Budget(NamedTuple):
    """How long to look."""

    samples: int = 15
    """of each side, at most"""
    seconds: float = 6.0
    """for all samples of one comparison, about; a side gets at least one"""
    least: float = 0.02
    """seconds that a sample lasts at least: short calls are repeated in it"""


def local(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> Candidate:
    """A side that runs here, compiled by a first call at once; JAX is waited for after every call."""
    jax.block_until_ready(call())

    def seconds(n: int) -> float:
        start = clock()
        for _ in range(n):
            jax.block_until_ready(call())
        return clock() - start

    return seconds


def interleaved(sides: Mapping[str, Candidate], effort: Budget) -> tuple[dict[str, Timing], dict[str, str]]:
    """(time of one call of each side, why the others failed). A side's first call warms it and does not count.

    One whose call takes more than its part of `effort.seconds` is measured by that one call.
    """
    part = effort.seconds / len(sides)
    first, failures = _first_calls(sides, part)
    repeat = {name: int(np.clip(np.ceil(effort.least / max(t, 1e-9)), 1, 1000)) for name, t in first.items()}
    rounds = {name: int(np.clip(part / (t * repeat[name]), 0, effort.samples)) for name, t in first.items()}
    taken: dict[str, list[float]] = {name: [] for name in first}
    for i in range(max(rounds.values(), default=0)):
        for name in first:
            if i < rounds[name]:
                taken[name].append(sides[name](repeat[name]) / repeat[name])
    return {name: _timing(taken[name] or [first[name]]) for name in first}, failures


def _first_calls(sides: Mapping[str, Candidate], part: float) -> tuple[dict[str, float], dict[str, str]]:
    """(seconds of one call, the second if the first was short enough; why there is none)."""
    first: dict[str, float] = {}
    failures: dict[str, str] = {}
    for name, side in sides.items():
        try:
            cold = side(1)
            first[name] = cold if cold > part else side(1)
        except Failed as reason:
            failures[name] = str(reason)
    return first, failures


def _timing(seconds: list[float]) -> Timing:
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    return Timing(1000 * float(middle), float((high - low) / middle), len(seconds))
