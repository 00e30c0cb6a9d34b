"""The types that rules, attacks, the registries and the engine share.

Symbols: `m` workers, `d` coordinates (model parameters), `b` samples in a worker's batch, `f` Byzantine workers that
the *defender declares*, `n_byz` workers that *really* attack, alpha = n_byz / m. `f` and `n_byz` may differ and are
never used for each other.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from byzsim.ops.varying import varying_as
from jaxtyping import Array, Bool, Float, Int, Key

State = Any  # a pytree of arrays whose structure, shapes and dtypes stay the same in every step
Traced = Float[Array, ""] | float  # a hyperparameter that may vary between the runs of one compiled program


def _missing(message: str) -> Callable[..., Any]:
    """The default of a function in `Context` that the caller has not provided: calling it raises `message`."""

    def call(*_: Any) -> Any:
        raise ValueError(message)

    return call


@dataclasses.dataclass(frozen=True)
class Missing:
    """Stands in a `Context` for what the caller has not given: reading it raises this error."""

    error: type[Exception]
    message: str = ""


def _not_given(message: str) -> Any:
    """The default of an array in `Context` that not every caller has."""
    return Missing(ValueError, message)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Context:
    """What a rule or an attack may read in one step. Every array may be traced.

    >>> import jax.numpy as jnp
    >>> from byzsim import Context, krum
    >>> rule, gradients = krum(), jnp.array([[0.0, 1.0], [0.5, 1.0], [0.0, 1.5], [0.5, 1.5], [9.0, -9.0]])
    >>> aggregate, state, info = rule.apply(gradients, rule.init(5, 2), Context(f=1))
    >>> print(aggregate, info.weight)
    [0. 1.] [1. 0. 0. 0. 0.]

    Most fields are read by some rules and attacks only; what is read but was not given raises an error that says so. In
    training the engine fills all that apply; a function that is not called costs nothing. A rule that needs more gets a
    new field here.
    """

    key: Key[Array, ""] = dataclasses.field(default_factory=lambda: jax.random.key(0))
    """random key of this step; the rule, the attack and the labels have different ones. A rule with random numbers
    needs another one in each step"""
    step: Int[Array, ""] = dataclasses.field(default_factory=lambda: jnp.int32(0))
    """number of steps done before this one"""
    f: Int[Array, ""] | int = 0
    """number of Byzantine workers that the defender declares"""
    lr: Traced = 1.0
    """the server's learning rate"""
    params: Float[Array, " d"] = _not_given(
        "the parameters are read: give params=..., where the gradients were computed"
    )
    """the model's parameters, at which the gradients were computed"""
    previous: Float[Array, " d"] = _not_given(
        "the last aggregate is read: give previous=..., an array of zeros in the first step"
    )
    """the aggregate of the previous step; zero in the first step"""
    server_loss: Callable[[int], Callable[[Float[Array, " d"]], Float[Array, ""]]] = _missing(
        "this rule needs the server's own data: pass server_loss=... or server_gradient=... to byzsim.aggregate, or "
        "run it in byzsim.simulate"
    )
    """for rules: n -> (parameters -> mean loss on n examples that the server draws for this step)"""
    aggregate: Callable[[Float[Array, "m d"]], Float[Array, " d"]] = _missing(
        "this attack needs the aggregation rule: pass rule=... to byzsim.forge, or run it in byzsim.simulate"
    )
    """for attacks: rows (m, d) -> the aggregate that the server would compute from these rows in this step"""
    loss_after: Callable[[Float[Array, " d"]], Float[Array, ""]] = _missing(
        "this attack needs the loss after a step: pass loss_after=... to byzsim.forge, or run it in byzsim.simulate"
    )
    """for attacks: aggregate -> honest workers' mean loss on this step's batches after the server has applied it"""
    full_gradient: Callable[[], Float[Array, " d"]] = _missing(
        "this attack needs the full gradient: pass full_gradient=... to byzsim.forge, or run it in byzsim.simulate"
    )
    """for attacks: () -> the gradient of the mean loss over the whole training set at `params`"""
    epoch: int = 100
    """number of steps in an epoch; static"""

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if isinstance(value, Missing):
            raise value.error(value.message)
        return value

    def _replace(self, **changes: Any) -> Self:
        """The context with other values of these fields."""
        return type(self)(**(vars(self) | changes))


class Info(NamedTuple):
    """What a rule reports about one step. Every rule has the same structure, so that a grid can stack them."""

    weight: Float[Array, " m"]
    """each worker's weight in the aggregate (coordinate-wise rules: its mean over the coordinates). The weights sum to
    1, or to less if a part of the aggregate comes from elsewhere, such as from earlier steps"""
    clipped: Float[Array, ""] | float = 0.0
    """number of rows that were shortened"""
    suspicion: Float[Array, "tests m"] | tuple[()] = ()
    """for each test by which the rule drops workers, what it compares of each worker over the limit: above 1 the worker
    is dropped. () if the rule does not say"""


class Aggregator(NamedTuple):
    """An aggregation rule: a pair of pure functions."""

    init: Callable[[int, int], State]
    """(m, d), both static -> the state before the first step. Call it through `begin`, which sets the dtype"""
    apply: Callable[[Float[Array, "m d"], State, Context], tuple[Float[Array, " d"], State, Info]]
    """(gradients, state, context) -> (aggregate, next state, info)"""
    redundancy: int = 1
    """how many workers compute the same batches: each worker computes this many (`ops.sets.groups`)"""


class Attack(NamedTuple):
    """An attack: how Byzantine workers change their labels, and which rows they send.

    Both functions return values for *all* workers. Only the engine knows which workers are Byzantine: it keeps the
    honest workers' rows as they are, so an attack cannot change them by mistake.
    """

    init: Callable[[int, int], State]
    """(m, d), both static -> the state before the first step"""
    labels: Callable[[Int[Array, "m b"], int, Context], Int[Array, "m b"]]
    """(labels, number of classes, context) -> the labels on which Byzantine workers train"""
    grads: Callable[[Float[Array, "m d"], Bool[Array, " m"], State, Context], tuple[Float[Array, "m d"], State]]
    """(updates, byz, state, context) -> (forged rows, next state). `updates` is what each worker would send if it were
    honest: its gradient, or its momentum; `byz` is True for Byzantine workers"""
    reads_own_gradients: bool = True
    """whether `grads` reads the rows of `updates` that belong to Byzantine workers; if not, the engine may skip the
    computation of these rows"""


PreAggregator = Callable[[Aggregator], Aggregator]
"""a step before the rule, such as clipping: it turns a rule into another rule"""
Modifier = Callable[[Attack], Attack]
"""a change of when or how an attack acts: it turns an attack into another attack"""


class Variant(NamedTuple):
    """A named definition among several that sources give under one name, as in krum(variant="byzfl")."""

    name: str
    options: Mapping[str, Any]
    """options of the factory that select this definition"""
    formula: str
    """how it differs, in the symbols of the docstring's formula"""
    source: str
    """the paper or the code that defines it"""


class Spec(NamedTuple):
    """The last line of a file in a registry (`SPEC = Spec(...)`): what the registry knows about a member."""

    factory: Callable[..., Any]
    """function with keyword-only options that makes the member; the first line of its docstring is the summary"""
    source: str
    """author, venue, year"""
    max_f: Callable[..., int] = lambda m: m
    """m -> the largest f for which robustness is guaranteed (rules only); may take options of the factory by name"""
    traits: frozenset[str] = frozenset()
    """properties of the member with default options, which the tests check: see RULE_TRAITS and ATTACK_TRAITS"""
    cost: str = ""
    """order of the running time in m and d (rules only)"""
    kappa: Callable[[int, int], float] | None = None
    """(m, f) -> the published upper bound on the robustness coefficient (see `byzsim.robustness`)"""
    variants: tuple[Variant, ...] = ()
    """definitions that differ between sources, the default first"""
    rows: Callable[..., int] = lambda m: m
    """m -> number of rows that the rule gets (preaggregators only); may take options, as `max_f`"""
    digest: str = ""
    """SHA-256 (hex) of the source code of a user's own member; part of the identity of its runs"""
    revision: int = 1
    """raised when the same options may give other numbers than before; if above 1, part of the identity of its runs"""

    @property
    def summary(self) -> str:
        return (self.factory.__doc__ or "").strip().partition("\n")[0]


RULE_TRAITS = {
    "permutation": "the order of the workers does not matter",
    "translation": "adding a vector to all rows adds it to the output",
    "scale": "multiplying all rows by a factor multiplies the output by it",
    "consensus": "if all rows are equal, the output is that row",
    "average": "with f = 0 the output is the mean",
    "selects_one": "the output is one of the rows",
    "filter": "workers of weight 0 do not influence the output",
    "clips": "it shortens rows and reports how many",
    "coordinatewise": "each output coordinate depends on its own column only",
    "stateful": "it keeps a state between steps",
    "stochastic": "it draws random numbers",
    "server": "it reads the server's own data",
    "whole_rows": "it reads all coordinates of a row, or the parameters, on one device, so `robust_pmean` refuses it",
}
ATTACK_TRAITS = {
    "data": "it changes labels",
    "collusive": "it does not read the Byzantine workers' own honest updates",
    "stochastic": "it draws random numbers",
    "stateful": "it keeps a state between steps",
    "rule": "it evaluates the aggregation rule",
    "full_gradient": "it reads the gradient over the whole training set",
    "params": "it reads the parameters",
    "non_finite": "it sends NaN or infinities",
}


def no_state(m: int, d: int) -> State:
    """The initial state of a rule or an attack that keeps none."""
    del m, d
    return ()


def begin(member: Aggregator | Attack, m: int, d: int, dtype: Any) -> State:
    """The state before the first step, with its floating-point arrays cast to the dtype of the rows."""

    def cast(leaf: Any) -> Array:
        return jnp.asarray(leaf, dtype if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else None)

    return jax.tree.map(cast, member.init(m, d))


def make_attack(
    *,
    labels: Callable[..., Any] = lambda labels, n_classes, ctx: labels,
    grads: Callable[..., Any] = lambda updates, byz, state, ctx: (updates, state),
    init: Callable[[int, int], State] = no_state,
    reads_own_gradients: bool = True,
) -> Attack:
    """An `Attack` from the functions that differ from honest behaviour."""
    return Attack(init, labels, grads, reads_own_gradients)


def if_any_byzantine(vectors: Callable[[], Any], byz: Bool[Array, " m"], otherwise: Any) -> Any:
    """Return vectors() if any worker is Byzantine, else `otherwise`, which has the same shapes.

    The `lax.cond` keeps XLA from recomputing the vectors, sums over all workers included, for every row to which they
    are broadcast. Under `vmap` over `byz` XLA turns the condition into a selection: the numbers stay the same, but the
    recomputation comes back.
    """
    return jax.lax.cond(byz.any(), vectors, lambda: otherwise)


def colluding(
    vector: Callable[[Float[Array, "m d"], Bool[Array, " m"], Context], Float[Array, " d"]],
    *,
    reads_own_gradients: bool = False,
) -> Attack:
    """An `Attack` in which all Byzantine workers send the same vector(updates, byz, context)."""

    def grads(
        updates: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, ctx: Context
    ) -> tuple[Float[Array, "m d"], State]:
        def sent() -> Float[Array, " d"]:
            return varying_as(vector(updates, byz, ctx).astype(updates.dtype), updates)

        forged = if_any_byzantine(sent, byz, varying_as(jnp.zeros(updates.shape[1], updates.dtype), updates))
        return jnp.broadcast_to(forged, updates.shape), state

    return make_attack(grads=grads, reads_own_gradients=reads_own_gradients)


def stateless(rule: Callable[[Float[Array, "m d"], Context], tuple[Any, Any]]) -> Aggregator:
    """An `Aggregator` without state from a function (gradients, context) -> (aggregate, each worker's weight)."""

    def apply(grads: Float[Array, "m d"], state: State, ctx: Context) -> tuple[Float[Array, " d"], State, Info]:
        aggregate, weight = rule(grads, ctx)
        return aggregate, state, Info(weight.astype(jnp.float32))

    return Aggregator(no_state, apply)
