"""A robust rule where `jax.lax.pmean` stood: replicas on devices, each with its own gradient."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from byzsim import api, blocks
from byzsim.gradients import tree_layout
from byzsim.oneshot import Undeclared, init_state, make_context
from byzsim.ops import varying_as
from byzsim.types import Aggregator, Context
from jaxtyping import Array, Float, Int


class Reduced(NamedTuple):
    """What `robust_pmean(..., details=True)` returns; the same on all devices, but for the state."""

    aggregate: Any
    """a tree as the gradients are one"""
    state: Any
    """what a rule with a memory remembers: arrays with a first axis of 1, to be split over them"""
    weight: Float[Array, " m"]
    """share of each replica in the aggregate; 0: left out"""
    distance: Float[Array, " m"]
    """distance of each replica's gradient to the aggregate; inf if it is not finite"""
    non_finite: Int[Array, " m"]
    """number of entries of each replica's gradient that are NaN or infinite"""


def robust_pmean(
    tree: Any,
    axis_name: str,
    rule: str | Aggregator = "median",
    *,
    f: Any = None,
    key: Any = None,
    state: Any = None,
    step: Any = 0,
    shared_over: str | Sequence[str] = (),
    by_leaf: bool = False,
    wire: Any = None,
    details: bool = False,
    strict: bool = False,
    **rule_args: Any,
) -> Any:
    """The aggregate of the replicas' gradients, where `jax.lax.pmean(tree, axis_name)` stood.

    For use inside `jax.shard_map` or `jax.pmap`. An all-to-all gives each of the m devices the numbers of all replicas
    for 1/m of the coordinates; there the rule runs as it is written, and adds up sums over coordinates (norms,
    distances, products); an all-gather puts the result together. So a device sends and receives as much as in a ring
    all-reduce, and holds no more than d numbers of the matrix (m, d).

    >>> import numpy as np
    >>> from jax.sharding import Mesh, PartitionSpec as P
    >>> mesh = Mesh(np.array(jax.devices()[:1]), "data")
    >>> grads = {"w": jnp.ones((1, 3))}  # one replica on one device
    >>> mean = jax.shard_map(lambda g: robust_pmean(g, "data"), mesh=mesh, in_specs=P("data"), out_specs=P())
    >>> print(mean(grads)["w"])
    [[1. 1. 1.]]

    Args:
        tree: this replica's gradient: a pytree of floating-point arrays.
        axis_name: the axis of the mesh along which the replicas lie; its size is m.
        rule: a name in `byzsim.AGGREGATORS`, with preaggregators before it as in "nnm+krum", or the rule itself.
        f: the number of replicas that may be wrong. Rules that do not read it do not need it.
        key: random key, the same on all devices, for rules that draw random numbers; default: one with seed 0.
        state: what the last call returned as `state`; None: the rule's initial state.
        step: number of this step, for rules that count them, such as safeguard's windows.
        shared_over: further axes of the mesh, over which each replica's gradient is split (model parallel): sums over
            coordinates count all parts, so all devices of a replica agree on whom to trust.
        by_leaf: apply the rule to each array of the tree by itself; default: distances are over the whole tree.
        wire: dtype in which numbers travel, such as jnp.bfloat16; default: that of the arrays, the widest if they
            differ.
        details: return a `Reduced` instead of the aggregate alone. With `by_leaf` its fields are trees.
        strict: raise an error, instead of a warning, if f is beyond the rule's bound.
        rule_args: options of a rule that is given by name.

    Returns:
        The aggregate, a tree as `tree` is one, in the same dtypes; sums are computed in float32 or float64. Or a
        `Reduced`.

    Raises:
        ValueError: there is no such axis; the tree is empty or has arrays that are not of floating-point numbers; the
            rule or an option is unknown; f is out of range or missing; the rule needs the server's own data or
            redundant work, or has the trait "whole_rows"; it has a memory, and `details` is not set.

    Warns:
        UserWarning: f is beyond the rule's bound.
    """
    further = (shared_over,) if isinstance(shared_over, str) else tuple(shared_over)
    m = _size(axis_name)
    axes = (axis_name, *(name for name in further if _size(name)))
    made, name = api.rule_for_replicas(rule, rule_args, m, f, strict)
    drawn = jax.random.key(0) if key is None else key

    def reduced(tree: Any, state: Any) -> Reduced:
        def context(d: int, dtype: Any) -> Context:
            return make_context(drawn, f, d, dtype, step=jnp.asarray(step, jnp.int32))

        return _reduced(tree, state, made, context, axes, wire)

    leaves, structure = jax.tree.flatten(tree)
    tree_layout("the gradient", tree)  # says what is wrong with it
    try:
        if by_leaf:
            states = [None] * len(leaves) if state is None else structure.flatten_up_to(state)
            found = Reduced(*(structure.unflatten(part) for part in zip(*map(reduced, leaves, states), strict=True)))
        else:
            found = reduced(tree, state)
    except Undeclared:
        raise ValueError(f"{name} needs f, the number of replicas that may be wrong: pass f=... (0 for none)") from None
    if details:
        return found
    if jax.tree.leaves(found.state):
        raise ValueError(f"{name} has a memory: pass details=True, and the state that it returns to the next call")
    return found.aggregate


def _size(axis: str) -> int:
    """The number of devices along an axis of the mesh."""
    try:
        return jax.lax.axis_size(axis)
    except NameError:
        raise ValueError(
            f"there is no axis {axis!r} here; call robust_pmean inside jax.shard_map or jax.pmap over such an axis"
        ) from None


def _reduced(
    tree: Any, state: Any, rule: Aggregator, context: Callable[..., Context], axes: tuple[str, ...], wire: Any
) -> Reduced:
    layout, axis = tree_layout("the gradient", tree), axes[0]
    m, d = jax.lax.axis_size(axis), layout.d
    travels = jnp.result_type(*layout.dtypes) if wire is None else wire
    vector = varying_as(layout.vector(tree), *map(jax.lax.axis_index, axes))
    blocks_of_all = jnp.pad(vector, (0, -d % m)).reshape(m, -1)  # block j is for device j
    rows = jax.lax.all_to_all(blocks_of_all.astype(travels), axis, 0, 0).astype(layout.dtype)
    with blocks.over(axes):
        before = init_state(rule, rows) if state is None else jax.tree.map(lambda leaf: leaf[0], state)
        out, after, info = rule.apply(rows, varying_as(before, rows), context(rows.shape[1], rows.dtype))
        squares = blocks.added_up(jnp.square(rows - out[None]).sum(axis=1))
        non_finite = blocks.added_up((~jnp.isfinite(rows)).sum(axis=1))
    whole = jax.lax.all_gather(out.astype(travels), axis, tiled=True, to="invarying")[:d]
    aggregate = jax.tree.unflatten(layout.tree, layout.arrays(whole.astype(layout.dtype)))
    weight, squares, non_finite = (_same_on_all(each, axes) for each in (info.weight, squares, non_finite))
    distance = jnp.where(jnp.isfinite(squares), jnp.sqrt(squares), jnp.inf)
    return Reduced(aggregate, jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], after), weight, distance, non_finite)


def _same_on_all(value: Array, axes: tuple[str, ...]) -> Array:
    """A value that is the same on all devices, of JAX's type of such values."""
    return jax.lax.pmax(varying_as(value, *map(jax.lax.axis_index, axes)), axes)
