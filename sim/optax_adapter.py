"""Rules as transformations of optax: the gradients of m workers go in, one update comes out."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from byzsim.gradients import Layout, first_axis, tree_layout
from byzsim.types import Aggregator, Context, State, Traced, begin
from jax.core import Tracer
from jaxtyping import Array, Float, Int

try:
    from optax.experimental import aggregating

    TRANSFORMATION: Any = aggregating.Aggregator  # a GradientTransformationExtraArgs that says what it takes
except ImportError:  # an earlier optax
    TRANSFORMATION = optax.GradientTransformationExtraArgs


class RuleState(NamedTuple):
    """What an optimizer's state holds of a rule."""

    rule: State
    """the rule's own state"""
    count: Int[Array, ""]
    """number of updates"""
    weight: Float[Array, " m"]
    """each worker's weight in the last update (`byzsim.Info`): who was left out, and who was not"""


def as_optax(rule: Aggregator, *, m: int, f: Any = 0, seed: Any = 0, lr: Traced = 1.0) -> Any:
    """A rule as a transformation of optax that turns the gradients of m workers into one update.

    >>> import optax
    >>> from byzsim import chain, krum, nnm
    >>> robust = as_optax(chain(nnm(), krum()), m=5, f=1)
    >>> optimizer = optax.chain(robust, optax.clip_by_global_norm(1.0), optax.sgd(0.5, momentum=0.9))
    >>> params = {"w": jnp.zeros(2)}
    >>> state = optimizer.init(params)
    >>> workers = {"w": jnp.array([[0.0, 0.5], [0.0, 0.5], [0.0, 0.5], [0.0, 0.5], [9.0, -9.0]])}
    >>> updates, state = optimizer.update(workers, state, params)
    >>> print(updates["w"], state[0].weight)
    [-0.   -0.25] [0.25 0.25 0.25 0.25 0.  ]

    It is first in an `optax.chain`, or the aggregator of `optax.experimental.aggregating.process`. Distances and norms
    are those of all arrays of the tree together. Arrays of 16 bits come out as such, and sums are in float32.

    Its options may be injected: optax.inject_hyperparams(as_optax, static_args=("m",))(rule, m=8, f=schedule); those of
    the rule by a function that makes both, as in
    optax.inject_hyperparams(lambda tau: as_optax(centered_clipping(tau=tau), m=8))(tau=schedule).

    Args:
        rule: what a factory or `byzsim.chain` makes.
        m: number of workers.
        f: number of Byzantine workers that are declared, 0 to m; traced. What a schedule gives is cut to a whole
            number.
        seed: seed of the rule's random numbers; traced.
        lr: the server's learning rate, for rules that read it; traced.

    Returns:
        A `GradientTransformationExtraArgs`. Its `init` takes the parameters; its `update` takes gradients with the
        workers as first axis of each array, the state, and the parameters. A rule that needs the server's own data
        gets server_gradient=TREE or server_loss=FUNCTION (of the parameters) as a further argument of `update`.

    Raises:
        ValueError: an argument is no rule or no such number; and while `update` is traced, if arrays do not have m
            workers as first axis, are of whole numbers, or differ from the parameters.
    """
    if not isinstance(rule, Aggregator):
        raise ValueError(f"rule is {_shown(rule)}; expected what a factory makes, as in byzsim.krum()")
    if not _is_whole(m) or m < 1:
        raise ValueError(f"m={m!r} is not a whole number of at least 1" + _injected(m))
    if _is_whole(f) and not 0 <= f <= m:
        raise ValueError(f"f={f} is not a whole number from 0 to m={m}")

    def init(params: optax.Params) -> RuleState:
        layout = tree_layout("parameters", params)
        return RuleState(begin(rule, m, layout.d, layout.dtype), jnp.int32(0), jnp.zeros(m, jnp.float32))

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        *,
        server_gradient: Any = None,
        server_loss: Any = None,
        **unread: Any,
    ) -> tuple[optax.Updates, RuleState]:
        del unread  # of other transformations in the chain
        rows = first_axis("gradients", updates)
        layout = rows.layout
        if rows.m != m:
            raise ValueError(f"gradients are of {rows.m} workers; expected m={m} as first axis of each array")
        known = _knows(layout, params, server_gradient, server_loss)
        key = jax.random.fold_in(jax.random.key(jnp.asarray(seed, jnp.uint32)), state.count)
        ctx = Context(key, state.count, jnp.asarray(f, jnp.int32), jnp.asarray(lr, layout.dtype), **known)
        out, after, info = rule.apply(layout.matrix(rows.parts), state.rule, ctx)
        tree = jax.tree.unflatten(layout.tree, layout.arrays(out))
        return tree, RuleState(after, state.count + 1, info.weight)

    return TRANSFORMATION(init, update)


def _knows(layout: Layout, params: Any, server_gradient: Any, server_loss: Any) -> dict[str, Any]:
    """What of the `Context` there is."""
    known: dict[str, Any] = {}
    if params is not None:
        known["params"] = _vector("parameters", params, layout)
    if server_gradient is not None:
        slope = _vector("server_gradient", server_gradient, layout)
        known["server_loss"] = lambda n: lambda vector: jnp.vdot(slope, vector)
        known.setdefault("params", jnp.zeros_like(slope))
    elif server_loss is not None:
        known["server_loss"] = lambda n: lambda vector: server_loss(layout.tree_of(vector))
    return known


def _vector(name: str, tree: Any, layout: Layout) -> Float[Array, " d"]:
    """The vector of a tree that has the form of one worker's gradient."""
    own = tree_layout(name, tree)
    if (own.tree, own.shapes) != (layout.tree, layout.shapes):
        raise ValueError(
            f"gradients of one worker have arrays of shapes {_shapes(layout)}, and the {name} {_shapes(own)}; expected "
            "the same tree, with the workers as first axis of the gradients"
        )
    return layout.vector(tree)


def _shapes(layout: Layout) -> str:
    return f"{', '.join(map(str, layout.shapes)):.200}"


def _shown(given: Any) -> str:
    name = getattr(given, "__name__", None)
    return f"the function {name}" if name else f"{given!r:.100}"


def _is_whole(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)


def _injected(m: Any) -> str:
    traced = isinstance(m, Tracer | jax.Array)
    return ': name it in inject_hyperparams(..., static_args=("m",)), as it is a shape' if traced else ""
