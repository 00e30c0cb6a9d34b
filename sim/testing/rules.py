"""The contract of aggregation rules."""

import functools
from collections.abc import Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from byzsim.aggregators import AGGREGATORS
from byzsim.ops import median
from byzsim.ops.sets import groups
from byzsim.testing._contract import Case, Promise, check, far, made_by, shown, spec_of
from byzsim.types import Aggregator, Context, Info, Spec, begin
from jaxtyping import Array

D = 33  # coordinates; few of them would let the scores of rules tie that count columns
BAD = {
    "1e10": [1e10],
    "1e38": [1e38],
    "inf": [np.inf],
    "-inf": [-np.inf],
    "NaN": [np.nan],
    "mixed signs": [1e10, -1e10, -1e38],
    "mixed infinities": [np.inf, -np.inf, np.nan],
    "mixed": [np.nan, 1e38, 1e10],
}
"""what Byzantine workers send in the promise of resilience, one worker after another"""


class Tried:
    """A rule under test: compiled once for each shape of rows."""

    def __init__(self, name: str, spec: Spec) -> None:
        self.name, self.spec = name, spec
        self.made: Aggregator = made_by(spec, Aggregator)
        self.rounds = jax.jit(self.traced)

    def traced(self, rows: Array, f: Any, like: Any = None, key: Any = 0) -> tuple[Array, Info]:
        """(aggregate, info) of a step; with a memory, of the third such step, as it may take one to learn.

        Args:
            rows: gradients (m, d).
            f: declared number of Byzantine workers.
            like: rows of whose median the server's own gradient is made; None: these.
            key: seed of the rule's random numbers.
        """
        state = begin(self.made, *rows.shape, rows.dtype)
        for step in range(3 if "stateful" in self.spec.traits else 1):
            ctx = context(rows if like is None else like, f, step, key)
            aggregate, state, info = self.made.apply(rows, state, ctx)
        return aggregate, info

    def weighted(self, rows: Any, f: int = 0, *, like: Any = None, key: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(aggregate, each worker's weight)."""
        rows = jnp.asarray(rows, jnp.float32)
        like = rows if like is None else jnp.asarray(like, jnp.float32)
        aggregate, info = self.rounds(rows, jnp.int32(f), like, jnp.int32(key))
        return np.asarray(aggregate), np.asarray(info.weight)

    def __call__(self, rows: Any, f: int = 0, **more: Any) -> np.ndarray:
        """The aggregate."""
        return self.weighted(rows, f, **more)[0]

    @property
    def bounded(self) -> bool:
        """Whether the spec states a bound."""
        return self.spec.max_f is not Spec._field_defaults["max_f"]


def aggregate(rule: Any, rows: Any, f: int = 0) -> np.ndarray:
    """The aggregate of one matrix (m, d), as the contract tries it: with a memory, of the third step with these rows.

    Args:
        rule, rows, f: as in a report of `check_rule`.
    """
    return Tried(*spec_of(rule, AGGREGATORS, Aggregator))(rows, f)


def check_rule(rule: Any, *, only: Collection[str] = ()) -> Case:
    """Check what every aggregation rule promises, and what the traits of this one promise.

    Every rule promises
        output: an aggregate (d,) of the rows' dtype, and float32 weights (m,), finite, from 0, that sum to 1, or to
            less for a rule with a memory ("stateful") or with data of the server ("server").
        plain_f: f may be a plain number as well as a traced one.
        state: the memory keeps its structure, shapes and dtypes; there is one if and only if the trait "stateful" is.
        key: without the trait "stochastic" the output does not depend on the random key.
        vmap: several f side by side give what they give one by one.
        bound: max_f is a whole number of workers, less than half of them, and does not fall with m; if it is stated.
        resilience: whatever max_f workers send, infinities and NaN included, the aggregate is finite and no farther
            from the mean of the honest rows than (1 + 2 (m - f) / (m - 2 f)) times their radius, Cauchy's bound for the
            geometric median, the weakest of the bounds that hold for all rules; with the trait "coordinatewise" it lies
            between honest values, if what they send is far from all of them (a mean around a centre, such as phocas,
            may count a bad value that is near). If max_f is stated.
    A trait promises
        permutation: the order of the workers does not matter.
        translation: adding a vector to all rows adds it to the output.
        scale: multiplying all rows by a power of two multiplies the output by it, exactly.
        consensus: if all rows are equal, the output is that row.
        average: with f = 0 the output is the mean.
        selects_one: the output is one of the rows, and its worker has all the weight.
        coordinatewise: each output coordinate depends on its own column only.
        filter: workers of weight 0 do not influence the output: it is a combination of the other rows.

    Args:
        rule: a name in `byzsim.AGGREGATORS`, a `Spec`, a factory, or an `Aggregator`. Only a `Spec` states traits and
            max_f.
        only: names of promises; default: all.
    Returns:
        {name: promise} of those that are kept.
    Raises:
        BrokenPromise: with each broken promise and an input that breaks it, which `byzsim.testing.aggregate(rule, rows,
            f)` takes.
        ValueError: `rule` cannot be checked, or there is no such promise.
    """
    name, spec = spec_of(rule, AGGREGATORS, Aggregator)
    return check(name, tried(name) if isinstance(rule, str) else Tried(name, spec), spec.traits, RULE_PROMISES, only)


@functools.cache
def tried(name: str) -> Tried:
    """A registered rule, compiled once for all checks."""
    return Tried(name, AGGREGATORS[name])


def normal(m: int, d: int = D, seed: int = 0) -> np.ndarray:
    """Rows of unequal spread, so that scores in which rules count columns seldom tie."""
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(m, d)) * np.linspace(0.5, 2, m)[:, None] + draw.normal(size=d)).astype(np.float32)


def honest_rows(rule: Tried, rows: np.ndarray) -> np.ndarray:
    """Rows on which the rule makes its promises: copies in a group whose members compute the same batches, and larger
    where it has thresholds in gradient units."""
    group = np.asarray(groups(len(rows), min(rule.made.redundancy, len(rows))))
    return rows[np.searchsorted(group, group)] * np.float32(1 if "scale" in rule.spec.traits else 64)


def context(rows: Any, f: Any, step: Any = 0, key: Any = 0) -> Context:
    """A step in which the server's own gradient is the median of the rows."""
    direction = jnp.nan_to_num(median(rows), posinf=0, neginf=0)
    zero = jnp.zeros(rows.shape[1])
    return Context(
        jax.random.key(key),
        jnp.int32(step),
        f,
        lr=0.1,
        params=zero,
        previous=zero,
        server_loss=lambda n: lambda params: jnp.vdot(direction, params),
    )


def _output(rule: Tried, rows: np.ndarray, f: int) -> str | None:
    vector, weight = rule.weighted(rows, f)
    m, d = rows.shape
    if vector.shape != (d,) or vector.dtype != np.float32:
        return f"the aggregate is {vector.dtype} {vector.shape}; expected float32 ({d},)"
    if weight.shape != (m,) or weight.dtype != np.float32:
        return f"weights are {weight.dtype} {weight.shape}; expected float32 ({m},)"
    total, partly = float(weight.sum()), bool(rule.spec.traits & {"stateful", "server"})
    if not (np.isfinite(weight).all() and (weight >= 0).all() and -1e-6 <= total <= 1 + 1e-6):
        return f"weights are {shown(weight)}, with the sum {total:.7g}; expected numbers from 0 with the sum 1"
    return f"weights have the sum {total:.7g}; expected 1" if not partly and abs(total - 1) > 1e-6 else None


def _plain_f(rule: Tried, rows: np.ndarray, f: int) -> str | None:
    vector, info = jax.eval_shape(lambda: rule.traced(jnp.asarray(rows), f))
    m, d = rows.shape
    return None if (vector.shape, info.weight.shape) == ((d,), (m,)) else f"it returns {vector.shape}"


def _state(rule: Tried, m: int, d: int) -> str | None:
    rows = jnp.zeros((m, d))
    state = begin(rule.made, m, d, rows.dtype)

    def step(state: Any, i: Any) -> tuple[Any, Any]:
        _, state, info = rule.made.apply(rows, state, context(rows, jnp.int32(1), i))
        return state, info.weight

    after, _ = jax.eval_shape(lambda: jax.lax.scan(step, state, jnp.arange(3)))
    if jax.tree.structure(after) != jax.tree.structure(state):
        return f"its state is {jax.tree.structure(state)} before a step, and {jax.tree.structure(after)} after it"
    if bool(jax.tree.leaves(state)) != ("stateful" in rule.spec.traits):
        return f"it has {'a' if jax.tree.leaves(state) else 'no'} state; expected the trait 'stateful' to say so"
    return None


def _key(rule: Tried, rows: np.ndarray, f: int) -> str | None:
    if "stochastic" in rule.spec.traits:
        return None
    one, two = rule(rows, f, key=0), rule(rows, f, key=1)
    return (
        f"keys 0 and 1 give {shown(one)} and {shown(two)}; the trait 'stochastic' is missing" if far(one, two) else None
    )


def _vmap(rule: Tried, rows: np.ndarray) -> str | None:
    several = jnp.arange(len(rows) + 1)
    batched = jax.jit(jax.vmap(lambda f: rule.traced(jnp.asarray(rows), f)[0]))(several)
    for f, found in zip(several.tolist(), np.asarray(batched), strict=True):
        if far(found, single := rule(rows, f)):
            return f"with f = {f} under vmap: {shown(found)}; alone: {shown(single)}"
    return None


def _bound(rule: Tried) -> str | None:
    bounds = [rule.spec.max_f(m) for m in range(1, 50)] if rule.bounded else []
    for m, f in enumerate(bounds, start=1):
        if isinstance(f, bool) or not isinstance(f, int | np.integer) or not 0 <= 2 * f < m:
            return f"max_f({m}) is {f!r}; expected a whole number from 0 to {(m - 1) // 2}"
        if f < bounds[max(m - 2, 0)]:
            return f"max_f({m - 1}) is {bounds[m - 2]} and max_f({m}) is {f}"
    return None


def resilience(
    rule: Tried, rows: np.ndarray, at: list[int], bad: np.ndarray, *, slack: float = 0.0, edge: float = 1e-5
) -> str | None:
    """The workers `at` send the rows `bad`; the others are honest, with these rows."""
    rows, at = honest_rows(rule, rows), list(at)
    m, f = len(rows), len(at)
    good = np.delete(rows, at, axis=0)
    sent = rows.copy()
    sent[at] = bad
    found = rule(sent, f, like=np.resize(good, rows.shape))
    if not np.isfinite(found).all():
        return f"the aggregate is {shown(found)}"
    centre = good.mean(axis=0)
    from_zero = rule.spec.traits & {"stateful", "server"} or "translation" not in rule.spec.traits
    radius = np.linalg.norm(good - (0 if from_zero else centre), axis=1).max()
    distance, most = np.linalg.norm(found - centre), (1 + 2 * (m - f) / (m - 2 * f)) * radius
    if distance > most + slack:
        return f"the aggregate {shown(found)} is {distance:.4g} from the honest mean; expected at most {most:.4g}"
    outside = (found < good.min(axis=0) - edge).any() or (found > good.max(axis=0) + edge).any()
    if "coordinatewise" in rule.spec.traits and outside:
        return f"the aggregate {shown(found)} is not between honest values"
    return None


def _bad_rows(rule: Tried) -> Iterator[Case]:
    for m in (7, 8) if rule.bounded else ():
        n_byz = min(rule.spec.max_f(m), (m - 1) // 2)  # more breaks the promise of the bound
        for value in BAD.values():
            bad = np.repeat(np.resize(np.asarray(value, np.float32), n_byz)[:, None], D, axis=1)
            yield {"rows": normal(m), "at": [3 + i for i in range(n_byz)], "bad": bad}  # not only the first workers


def permutation(rule: Tried, rows: np.ndarray, f: int, order: list[int], **near: float) -> str | None:
    """The workers in another order give the same."""
    one, other = rule(rows, f), rule(rows[np.asarray(order)], f)
    return f"aggregate: {shown(one)}; of rows[order]: {shown(other)}" if far(other, one, **near) else None


def translation(rule: Tried, rows: np.ndarray, f: int, shift: np.ndarray, **near: float) -> str | None:
    """All rows plus a vector give the output plus that vector."""
    moved, expected = rule(rows + shift, f), rule(rows, f) + shift
    return f"of rows + shift: {shown(moved)}; expected {shown(expected)}" if far(moved, expected, **near) else None


def scale(rule: Tried, rows: np.ndarray, f: int, factor: float, **near: float) -> str | None:
    """All rows times a factor give the output times that factor."""
    scaled, expected = rule(np.float32(factor) * rows, f), np.float32(factor) * rule(rows, f)
    return f"of factor * rows: {shown(scaled)}; expected {shown(expected)}" if far(scaled, expected, **near) else None


def consensus(rule: Tried, rows: np.ndarray, f: int, **near: float) -> str | None:
    """All rows as the first one give that row."""
    found = rule(np.repeat(rows[:1], len(rows), axis=0), f)
    if far(found, rows[0], **near):
        return f"all rows as rows[0] = {shown(rows[0])} give {shown(found)}"
    return None


def average(rule: Tried, rows: np.ndarray, **near: float) -> str | None:
    """With f = 0 the output is the mean."""
    found, mean = rule(rows, 0), rows.mean(axis=0)
    return (
        f"with f = 0 the aggregate is {shown(found)}; the mean is {shown(mean)}" if far(found, mean, **near) else None
    )


def selects_one(rule: Tried, rows: np.ndarray, f: int) -> str | None:
    """The output is the row of the worker with weight 1."""
    found, weight = rule.weighted(rows, f)
    if sorted(weight.tolist()) != [0.0] * (len(rows) - 1) + [1.0]:
        return f"weights are {shown(weight)}; expected one 1 and zeros"
    chosen = rows[int(np.argmax(weight))]
    return None if np.array_equal(found, chosen) else f"the aggregate is {shown(found)}; the chosen row {shown(chosen)}"


def coordinatewise(rule: Tried, rows: np.ndarray, other: np.ndarray, f: int, columns: int) -> str | None:
    """The first columns of the output are the same if the first columns of all rows are."""
    mixed = np.concatenate([rows[:, :columns], other[:, columns:]], axis=1)
    one, two = rule(rows, f)[:columns], rule(mixed, f)[:columns]
    return (
        None if np.array_equal(one, two) else f"the first coordinates are {shown(one)}, with other columns {shown(two)}"
    )


def only_weighted(rule: Tried, rows: np.ndarray, f: int) -> str | None:
    """The output is a combination of the rows that have a weight."""
    found, weight = rule.weighted(rows, f)
    kept = rows[weight > 0]
    if len(kept) == len(rows):
        return None
    inside = kept.T @ np.linalg.lstsq(kept.T, found, rcond=None)[0]
    if far(inside, found, rtol=1e-7, atol=1e-4):
        return f"weights are {shown(weight)}, and the aggregate {shown(found)} is no combination of rows with a weight"
    return None


def _orders(rule: Tried) -> Iterator[Case]:
    for m in (7, 8):
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(m).tolist()
            yield {"rows": normal(m, seed=3), "f": 1, "order": order}


def _drawn(f: int, seeds: int = 5) -> Any:
    return lambda rule: [{"rows": normal(7, seed=seed), "f": f} for seed in range(seeds)]


def _both(f: int) -> Any:
    return lambda rule: [{"rows": normal(m), "f": f} for m in (7, 8)]


RULE_PROMISES: dict[str, Promise] = {
    "output": Promise("an aggregate (d,) and weights (m,) from 0 that sum to 1", _output, _both(1)),
    "plain_f": Promise("f may be a plain number", _plain_f, _drawn(2, 1)),
    "state": Promise("the state keeps its structure", _state, lambda rule: [{"m": 7, "d": D}]),
    "key": Promise("without the trait 'stochastic' nothing depends on the key", _key, _drawn(1, 1)),
    "vmap": Promise("several f side by side are several f one by one", _vmap, lambda rule: [{"rows": normal(7)}]),
    "bound": Promise("max_f leaves a majority, and does not fall with m", _bound),
    "resilience": Promise("max_f workers cannot move the aggregate far", resilience, _bad_rows),
    "permutation": Promise("the order of the workers does not matter", permutation, _orders, "permutation"),
    "translation": Promise(
        "adding a vector to all rows adds it to the output",
        functools.partial(translation, rtol=1e-7, atol=1e-5),
        lambda rule: [{"rows": normal(7), "f": 1, "shift": normal(1, seed=9)[0]}],
        "translation",
    ),
    "scale": Promise(
        "multiplying all rows by a power of two multiplies the output by it, exactly",
        functools.partial(scale, rtol=0.0, atol=0.0),
        lambda rule: [{"rows": normal(7), "f": 1, "factor": factor} for factor in (2.0**-10, 4.0, 2.0**20)],
        "scale",
    ),
    "consensus": Promise(
        "if all rows are equal, the output is that row",
        functools.partial(consensus, rtol=1e-5, atol=0.0),
        lambda rule: [{"rows": normal(m), "f": f} for m in (7, 8) for f in (0, 2)],
        "consensus",
    ),
    "average": Promise(
        "with f = 0 the output is the mean",
        functools.partial(average, rtol=1e-7, atol=1e-5),
        lambda rule: [{"rows": normal(m)} for m in (7, 8)],
        "average",
    ),
    "selects_one": Promise("the output is one of the rows", selects_one, _drawn(1), "selects_one"),
    "coordinatewise": Promise(
        "each output coordinate depends on its own column only",
        coordinatewise,
        lambda rule: [{"rows": normal(7), "other": normal(7, seed=8) * 100, "f": 1, "columns": 5}],
        "coordinatewise",
    ),
    "filter": Promise("workers of weight 0 do not influence the output", only_weighted, _drawn(2), "filter"),
}
"""the contract that `check_rule` checks"""
