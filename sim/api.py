"""Two one-liners on top: one vector from a matrix, one curve from a cell."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sim import grid
from sim.aggregators import AGGREGATORS
from sim.cell import Cell, known, options
from sim.engine import Data
from sim.grid import Curve
from sim.types import Round


def aggregate(rule: str, gradients: Any, *, f: int = 0, seed: int = 0, **rule_args: Any) -> Float[Array, " d"]:
    """What `rule` makes of one round of gradients, for a rule without memory of earlier rounds (or at its first).

    >>> aggregate("krum", [[0.0, 1.0], [0.1, 1.0], [0.0, 1.1], [0.1, 1.1], [9.0, -9.0]], f=1)

    Args:
        rule: a name in `sim.AGGREGATORS`.
        gradients: any array-like of shape (m, d), one row a worker; computed in float32. NaN and infinities are legal.
        f: Byzantine workers that the defender declares, 0 to m.
        seed: for rules that draw.
        rule_args: the rule's own options.
    Raises:
        ValueError: unknown rule or option; gradients not two-dimensional, empty or not numeric; f out of range.
    Warns:
        UserWarning: if f is beyond the rule's bound.
    """
    entry = known("rule", rule, AGGREGATORS)
    matrix = _matrix(gradients)
    m, d = matrix.shape
    if isinstance(f, bool) or not isinstance(f, int | np.integer) or not 0 <= f <= m:
        raise ValueError(f"f={f!r} is not a whole number from 0 to m={m}")
    if f > entry.max_f(m):
        warnings.warn(f"{rule} withstands at most f={entry.max_f(m)} of m={m} workers, not f={f}", stacklevel=2)
    aggregator = entry.make(**options(rule, entry, rule_args))
    rnd = Round(jax.random.key(seed), jnp.int32(0), jnp.int32(f))
    return aggregator.apply(matrix, aggregator.init(m, d), rnd)[0]


def _matrix(gradients: Any) -> Float[Array, "m d"]:
    try:
        matrix = np.asarray(gradients)
    except ValueError as error:
        raise ValueError(f"gradients are not an array: {error}") from None
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"gradients have shape {matrix.shape}; expected (m, d), one row a worker, none of them 0")
    if not (jnp.issubdtype(matrix.dtype, jnp.floating) or jnp.issubdtype(matrix.dtype, jnp.integer)):
        raise ValueError(f"gradients have dtype {matrix.dtype}; expected real numbers")
    return jnp.asarray(matrix, jnp.float32)


def simulate(
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    *,
    on_epoch: Callable[[int], None] = lambda done: None,
    **cell: Any,
) -> Curve:
    """Train one cell and measure it after every epoch.

    >>> simulate((x, y), (x_test, y_test), rule="krum", attack="alie", m=10, n_byz=2, model="softmax", epochs=3)

    Args:
        train, test: (images, labels): uint8 (n, h, w) or (n, h, w, c), and whole numbers from 0, (n,).
        on_epoch: called with the number of epochs done.
        cell: fields of `sim.Cell`.
    Raises:
        ValueError: for a cell or data that cannot be run, before anything is compiled.
    Warns:
        UserWarning: if there are more Byzantine workers than the rule's guarantee covers.
    """
    run = Cell(**cell)
    train_data, test_data = _data("train", *train), _data("test", *test)
    run.steps_per_epoch(len(train_data.labels))
    if train_data.images.shape[1:] != test_data.images.shape[1:]:
        raise ValueError(f"images differ: train {train_data.images.shape}, test {test_data.images.shape}")
    if run.beyond_bound:
        warnings.warn(
            f"{run.rule} withstands at most {run.max_f} of m={run.m} workers; here n_byz={run.n_byz}, f={run.f}",
            stacklevel=2,
        )
    n_classes = int(max(train_data.labels.max(), test_data.labels.max())) + 1
    (group,) = grid.plan([run], n_classes)
    (curve,) = grid.run(group.program, group.knobs, train_data, test_data, epochs=run.epochs, on_epoch=on_epoch)
    return curve


def _data(name: str, images: Any, labels: Any) -> Data:
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            f"{name} images are {images.dtype} of shape {images.shape}; expected uint8 (n, h, w) or (n, h, w, c)"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{name} labels are {labels.dtype} of shape {labels.shape}; expected whole numbers, ({len(images)},)"
        )
    if labels.min() < 0 or labels.max() > 255:
        raise ValueError(f"{name} labels go from {labels.min()} to {labels.max()}; expected 0 to 255")
    return Data(jnp.asarray(images), jnp.asarray(labels, jnp.uint8))
