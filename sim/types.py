"""The whole vocabulary: what a rule is, what an attack is, and what passes between them and the engine.

Words, as in the field: `m` workers, `d` coordinates, `b` samples in a worker's batch, `f` = Byzantine workers the
*defender declares*, `n_byz` = workers that *really* attack, alpha = n_byz / m. The last two counts are never mixed.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

State = Any  # any pytree of arrays whose structure, shapes and dtypes never change
Traced = Float[Array, ""] | float  # a hyperparameter that may vary inside one compiled grid


def _missing(what: str) -> Callable[..., Any]:
    """Stands where nobody has given a function that a member calls."""

    def call(*_: Any) -> Any:
        raise ValueError(f"{what} is asked for, and nobody has given it; inside a training step it is there")

    return call


class Context(NamedTuple):
    """What every rule and attack may read in one step; every array may be traced. A new need is a new field.

    Fields with a default are what only some members read. The engine fills all that apply; what nobody calls costs
    nothing.
    """

    key: Key[Array, ""]
    """fresh randomness, a stream of its own for each reader"""
    step: Int[Array, ""]
    """steps done before this one"""
    f: Int[Array, ""]
    """how many Byzantine workers the defender declares"""
    lr: Traced = 1.0
    """the server's learning rate"""
    params: Float[Array, " d"] | None = None
    """the model's parameters, at which the gradients were taken"""
    previous: Float[Array, " d"] | None = None
    """the aggregate of the step before; zero in the first"""
    server_loss: Callable[[int], Callable[[Float[Array, " d"]], Float[Array, ""]]] = _missing(
        "the server's own loss (server_loss=... or server_gradient=... of byzsim.aggregate)"
    )
    """for rules: n -> (parameters -> mean loss on n examples that the server itself has drawn for this step)"""
    aggregate: Callable[[Float[Array, "m d"]], Float[Array, " d"]] = _missing("the rule in use")
    """for attacks: what the rule in use would make of these rows in this step"""
    loss_after: Callable[[Float[Array, " d"]], Float[Array, ""]] = _missing("the loss after a step")
    """for attacks: aggregate -> honest workers' mean loss on this step's batches after the server's update with it"""
    full_gradient: Callable[[], Float[Array, " d"]] = _missing("the full gradient (full_gradient=... of byzsim.forge)")
    """for attacks: the gradient of the mean loss over the whole training set at `params`"""
    epoch: int = 100
    """steps in an epoch; static"""


class Info(NamedTuple):
    """What a rule tells about one step; the same structure for every rule, so that grids can be stacked."""

    weight: Float[Array, " m"]
    """each worker's share in the output (coordinate-wise rules: mean over coordinates); the shares sum to 1, or to less
    where the rest comes from elsewhere, such as earlier steps"""
    clipped: Float[Array, ""] | float = 0.0
    """how many rows were shortened"""


class Aggregator(NamedTuple):
    """An aggregation rule: a pair of pure functions."""

    init: Callable[[int, int], State]
    """(m, d), both static -> the state before the first step; called through `begin`, which sees to the dtype"""
    apply: Callable[[Float[Array, "m d"], State, Context], tuple[Float[Array, " d"], State, Info]]
    """(gradients, state, round) -> (aggregate, next state, info)"""
    redundancy: int = 1
    """how many batches each worker computes: those of this many workers, the same for all of them (`ops.groups`)"""


class Attack(NamedTuple):
    """An attack: what Byzantine workers do to their labels, and what they send.

    Both functions propose values for *all* workers; the engine alone decides who is Byzantine and keeps the honest
    rows untouched, so no attack can corrupt them by mistake.
    """

    init: Callable[[int, int], State]
    """(m, d), both static -> the state before the first step"""
    labels: Callable[[Int[Array, "m b"], int, Context], Int[Array, "m b"]]
    """(labels, number of classes, round) -> labels that Byzantine workers train on"""
    grads: Callable[[Float[Array, "m d"], Bool[Array, " m"], State, Context], tuple[Float[Array, "m d"], State]]
    """(what honest work would send, who is Byzantine, state, round) -> (forged rows, next state)"""
    reads_own_gradients: bool = True
    """it reads what Byzantine workers' honest work would be; if not, the engine need not compute that"""


PreAggregator = Callable[[Aggregator], Aggregator]
"""what comes before a rule, such as clipping: it makes a rule of a rule"""
Modifier = Callable[[Attack], Attack]
"""what changes when or how an attack acts: it makes an attack of an attack"""


class Variant(NamedTuple):
    """One of several definitions that go by a member's name, which can be asked for: krum(variant="byzfl")."""

    name: str
    options: Mapping[str, Any]
    """the factory's options that give it"""
    formula: str
    """in what it differs, in the words of the docstring's formula"""
    source: str
    """who defines or computes it so"""


class Spec(NamedTuple):
    """The last line of every file of a zoo, and all that its registry knows of a member."""

    factory: Callable[..., Any]
    """keyword-only factory; the first line of its docstring is the member's one-line description"""
    source: str
    """author, venue, year"""
    max_f: Callable[..., int] = lambda m: m
    """m -> the largest f with a robustness guarantee (rules only); may also take options of the factory, by name"""
    traits: frozenset[str] = frozenset()
    """promises of the defaults, which tests check; see RULE_TRAITS and ATTACK_TRAITS"""
    cost: str = ""
    """order of time in m and d (rules only)"""
    kappa: Callable[[int, int], float] | None = None
    """(m, f) -> the published upper bound on the rule's robustness coefficient (see `byzsim.robustness`)"""
    variants: tuple[Variant, ...] = ()
    """definitions that differ between sources, the default first"""
    rows: Callable[..., int] = lambda m: m
    """m -> how many rows are left for the rule (preaggregators only); may take options, as `max_f`"""
    digest: str = ""
    """SHA-256 (hex) of the source of a member from outside; part of the identity of its runs"""
    revision: int = 1
    """raised when the same options may give other numbers than before; above 1 part of the identity of its runs"""

    @property
    def summary(self) -> str:
        return (self.factory.__doc__ or "").strip().partition("\n")[0]


RULE_TRAITS = {
    "permutation": "the order of workers does not count",
    "translation": "a shift of all rows shifts the output",
    "scale": "a factor on all rows is a factor on the output",
    "consensus": "identical rows give that row",
    "average": "with f = 0 it is the mean",
    "selects_one": "the output is one of the rows",
    "filter": "workers of weight 0 are left out of the output",
    "clips": "it shortens rows, and says how many",
    "coordinatewise": "columns do not see each other",
    "stateful": "it remembers earlier steps",
    "stochastic": "it draws",
    "server": "it asks for the server's own data",
}
ATTACK_TRAITS = {
    "data": "it changes labels",
    "collusive": "it does not read what Byzantine workers' honest work would be",
    "stochastic": "it draws",
    "stateful": "it remembers earlier steps",
    "rule": "it tries the rule in use",
    "full_gradient": "it asks for the gradient over all data",
    "non_finite": "it sends NaN or infinities",
}


def no_state(m: int, d: int) -> State:
    """The state of a rule or attack that remembers nothing."""
    del m, d
    return ()


def begin(member: Aggregator | Attack, m: int, d: int, dtype: Any) -> State:
    """The state before the first step, its floating numbers in the dtype of the rows to come: `init` is not told."""

    def fitting(leaf):
        return jnp.asarray(leaf, dtype if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else None)

    return jax.tree.map(fitting, member.init(m, d))


def make_attack(
    *,
    labels: Callable[..., Any] = lambda labels, n_classes, ctx: labels,
    grads: Callable[..., Any] = lambda updates, byz, state, ctx: (updates, state),
    init: Callable[[int, int], State] = no_state,
    reads_own_gradients: bool = True,
) -> Attack:
    """An `Attack` from the parts that differ from honest work."""
    return Attack(init, labels, grads, reads_own_gradients)


def if_any_byzantine(vectors: Callable[[], Any], byz: Bool[Array, " m"], otherwise: Any) -> Any:
    """vectors(), computed once in a condition: `otherwise`, of the same shapes, if nobody is Byzantine.

    Without it XLA fuses what makes a vector, sums over all workers included, into each row that the vector goes to.
    (With it too under `vmap` over `byz`, which makes a selection of the condition: the same numbers, later.)
    """
    return jax.lax.cond(byz.any(), vectors, lambda: otherwise)


def colluding(
    vector: Callable[[Float[Array, "m d"], Bool[Array, " m"], Context], Float[Array, " d"]],
    *,
    reads_own_gradients: bool = False,
) -> Attack:
    """An `Attack` whose Byzantine workers all send vector(sent, byz, round), computed `once`."""

    def grads(updates, byz, state, ctx):
        zero = jnp.zeros(updates.shape[1], updates.dtype)
        forged = if_any_byzantine(lambda: vector(updates, byz, ctx).astype(updates.dtype), byz, zero)
        return jnp.broadcast_to(forged, updates.shape), state

    return make_attack(grads=grads, reads_own_gradients=reads_own_gradients)


def stateless(rule: Callable[[Float[Array, "m d"], Context], tuple[Any, Any]]) -> Aggregator:
    """An `Aggregator` from a function (gradients, context) -> (aggregate, weight of each worker)."""

    def apply(grads, state, ctx):
        aggregate, weight = rule(grads, ctx)
        return aggregate, state, Info(weight.astype(jnp.float32))

    return Aggregator(no_state, apply)
