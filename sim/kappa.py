"""How robust a rule is, measured: a lower bound on its (f, kappa) coefficient by a battery of attacks."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import check_shapes, oneshot
from byzsim.attacks import ATTACKS
from byzsim.names import rule_spec
from byzsim.options import options
from byzsim.process import non_finite, not_forked
from byzsim.types import Spec
from jaxtyping import Array, Float

STRENGTHS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)  # times the default of an attack's only number
BUDGETS = (0.5, 1.0, 2.0, 5.0)  # of the learned attack: the harm often peaks just inside what a rule accepts
LEFT_OUT = {"data", "full_gradient", "rule", "stateful", "non_finite"}
"""traits of attacks that send no vectors of one step's rows which can be listed before the rule is known"""


class Robustness(NamedTuple):
    """The worst that was found."""

    kappa: float
    """the largest ||F(x) - mean_H||^2 / variance_H: no smaller coefficient holds"""
    attack: str
    """what Byzantine workers sent there"""
    honest: str
    """how honest rows were drawn there"""
    bound: float | None
    """the published upper bound, where there is one"""


@non_finite()
def robustness(rule: str, m: int, f: int, d: int = 10, *, seed: int = 0, **rule_args: Any) -> Robustness:
    """An empirical lower bound on a rule's robustness coefficient, with f = n_byz.

    F is (f, kappa)-robust if for any m rows and any set H of m - f of them

        ||F(x) - mean_H||^2 <= kappa * (1 / |H|) sum over H of ||x_i - mean_H||^2

    Honest rows are drawn in four ways; Byzantine rows come from every attack of the registry that is a function of one
    step's rows, at several strengths, from copies of each honest row, and from `learned` and the line-searched attacks,
    which climb through the rule. The largest ratio is a proof that no smaller kappa holds; it is not kappa.

    >>> found = robustness("median", m=5, f=1, d=2)
    >>> 1 / 3 - 1e-3 < found.kappa < found.bound  # no rule is below f / (m - 2f)
    True

    Args:
        rule: a name in `byzsim.AGGREGATORS`, behind preaggregators if wanted.
        m, f, d: workers, Byzantine ones among them, coordinates.
        seed: of the draws.
        rule_args: its options.
    Raises:
        ValueError: for a rule with memory, with data of the server's own or with shared batches, to which the
            definition does not apply; f not from 1 to (m - 1) // 2.
    References: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, AISTATS 2023, definition 2.
    """
    spec = rule_spec(rule)
    args = options(rule, spec, rule_args)
    not_forked()
    for name, value in (("m", m), ("f", f), ("d", d), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{name}={value!r} is not a whole number")
    if d < 1 or not 0 <= seed < 2**32:
        raise ValueError(f"d={d}, seed={seed}: expected d from 1, and a seed from 0 to 2**32 - 1")
    if spec.traits & {"stateful", "server"} or spec.factory(**args).redundancy > 1:
        raise ValueError(f"{rule} is no function of one step's rows (memory, server data or shared batches): no kappa")
    if not 1 <= f <= (m - 1) // 2:
        raise ValueError(f"f={f} is not from 1 to (m - 1) // 2 = {(m - 1) // 2}")
    check_shapes.fits(f"all candidates for m={m} workers", 4 * m * d * (m - f + len(_listed())))
    check_shapes.rule(spec.factory(**args), m, d)
    listed, climb = _compiled(spec.factory, tuple(args.items()), m, f, d)
    worst = Robustness(0.0, "none", "none", None if spec.kappa is None else spec.kappa(m, f))
    key = jax.random.key(seed)
    for which, (kind, honest) in enumerate(_honest(key, m - f, d).items()):
        drawn = jax.random.fold_in(key, 100 + which)
        found = dict(zip(candidates(m, f), np.asarray(listed(honest, drawn)), strict=True)) | climb(honest, drawn)
        name, kappa = max(found.items(), key=lambda item: float(item[1]))
        if float(kappa) > worst.kappa:
            worst = worst._replace(kappa=float(kappa), attack=name, honest=kind)
    return worst


def _honest(key: Array, h: int, d: int) -> dict[str, Float[Array, "h d"]]:
    """Rows that rules find hard in different ways; a single outlier among honest rows is what filters drop."""
    normal = jax.random.normal(key, (h, d))
    few = (jnp.arange(h) < max(h // 4, 1))[:, None]
    return {
        "normal": normal,
        "shifted": normal + 3,
        "heavy tails": normal / jax.random.uniform(jax.random.fold_in(key, 1), (h, 1), minval=0.05),
        "two groups": 0.01 * normal + jnp.where(few, 1.0, 0.0),
    }


def candidates(m: int, f: int) -> list[str]:
    """Names of all attacks that can be listed before the rule is known, in the order of their rows."""
    copies = [f"copies of worker {i}" for i in range(f, m)]
    return copies + [f"{name}({_text(args)})" for name, args in _listed()]


def _rows(honest: Float[Array, "h d"], f: int, key: Array) -> Float[Array, "n m d"]:
    """The rows of all workers under each of `candidates`; the first f are Byzantine, as in the engine."""
    h, d = honest.shape
    byz = jnp.arange(h + f) < f
    updates = jnp.concatenate([honest[jnp.arange(f) % h], honest])
    ctx = oneshot.make_context(key, f, d, updates.dtype)
    copies = [jnp.where(byz[:, None], row, updates) for row in honest]
    forged = [oneshot.forged_rows(ATTACKS[name].factory(**args), updates, byz, ctx)[0] for name, args in _listed()]
    return jnp.stack(copies + forged)


def _listed() -> list[tuple[str, Mapping[str, float]]]:
    """Attacks with options: each as it is by default, and each of its numbers at other values."""
    return [(name, args) for name, spec in ATTACKS.items() if not spec.traits & LEFT_OUT for args in _strengths(spec)]


def _text(args: Mapping[str, float]) -> str:
    return ", ".join(f"{key}={value:g}" for key, value in args.items())


def _strengths(spec: Spec) -> list[Mapping[str, float]]:
    defaults = {name: p.default for name, p in inspect.signature(spec.factory).parameters.items()}
    numbers = {name: 1.0 if value is None else value for name, value in defaults.items() if _is_number(spec, name)}
    return [{}, *({name: times * value} for name, value in numbers.items() for times in STRENGTHS)]


def _is_number(spec: Spec, option: str) -> bool:
    parameter = inspect.signature(spec.factory).parameters[option]
    return isinstance(parameter.default, float) or (parameter.default is None and "Traced" in str(parameter.annotation))


@functools.lru_cache(maxsize=8)
def _compiled(make: Any, args: tuple[tuple[str, Any], ...], m: int, f: int, d: int):
    """(honest rows, key) -> ratios of all `candidates`; and ratios by name of what climbs through the rule."""
    rule = make(**dict(args))
    byz = jnp.arange(m) < f

    def ratio(rows, key):
        honest = rows[f:]
        mean = honest.sum(axis=0) / (m - f)
        variance = jnp.square(honest - mean).sum() / (m - f)
        out, _ = oneshot.aggregate(rule, rows, oneshot.make_context(key, f, d, rows.dtype))
        return jnp.square(out - mean).sum() / variance

    def listed(honest, key):
        return jax.lax.map(lambda rows: ratio(rows, key), _rows(honest, f, key))

    def climbing(attack, honest, key):
        updates = jnp.concatenate([honest[jnp.arange(f) % (m - f)], honest])
        ctx = oneshot.make_context(key, f, d, updates.dtype)
        return ratio(oneshot.forged_rows(attack, updates, byz, oneshot.against(rule, ctx))[0], key)

    def climb(honest, key):
        searching = [name for name, spec in ATTACKS.items() if "rule" in spec.traits and name != "learned"]
        found = {name: climbing(ATTACKS[name].factory(), honest, key) for name in searching}

        def within(budget):
            return climbing(ATTACKS["learned"].factory(steps=60, restarts=4, budget=budget), honest, key)

        learned = jax.lax.map(within, jnp.array(BUDGETS))
        return found | {f"learned(budget={b:g})": value for b, value in zip(BUDGETS, learned, strict=True)}

    return jax.jit(listed), jax.jit(climb)
