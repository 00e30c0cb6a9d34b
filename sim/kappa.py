"""Measured robustness: a lower bound on a rule's coefficient kappa, found by attacking it."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import check_shapes, oneshot
from byzsim.attacks import ATTACKS
from byzsim.names import rule_spec
from byzsim.options import options
from byzsim.process import non_finite, not_forked
from byzsim.types import Attack, Context
from jaxtyping import Array, Bool, Float

STRENGTHS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)  # factors on the default of each number of an attack
BUDGETS = (0.5, 1.0, 2.0, 5.0)  # of `learned`: a rule often loses most just inside the distance that it accepts
LEFT_OUT = {"data", "full_gradient", "params", "rule", "stateful", "non_finite"}
"""attacks with one of these traits are no functions of one step's rows alone, or send no finite rows"""


class Robustness(NamedTuple):
    """The worst case that `robustness` found."""

    kappa: float
    """the largest ratio ||F(x) - mean_H||^2 / variance_H; the rule's coefficient is at least this"""
    attack: str
    """the attack with that ratio"""
    honest: str
    """the distribution of the honest rows with that ratio"""
    bound: float | None
    """the published upper bound on the coefficient; None if there is none"""


@non_finite()
def robustness(rule: str, m: int, f: int, d: int = 10, *, seed: int = 0, **rule_args: Any) -> Robustness:
    """An empirical lower bound on a rule's robustness coefficient kappa, with f = n_byz.

    F is (f, kappa)-robust if for any m rows and any set H of m - f of them

        ||F(x) - mean_H||^2 <= kappa * (1 / |H|) sum over H of ||x_i - mean_H||^2

    The honest rows are drawn from four distributions. The Byzantine rows come from every attack of the registry that is
    a function of one step's rows, at several strengths; from copies of each honest row; and from attacks that optimise
    against the rule (`learned` and those with a line search). The largest ratio proves that kappa is at least this
    large; the true kappa may be larger.

    >>> found = robustness("median", m=5, f=1, d=2)
    >>> 1 / 3 - 1e-3 < found.kappa < found.bound  # no rule is below f / (m - 2f)
    True

    Args:
        rule: a name in `byzsim.AGGREGATORS`, with preaggregators before it if wanted, as in "nnm+krum".
        m: number of workers.
        f: number of Byzantine workers among them, 1 to (m - 1) // 2.
        d: number of coordinates.
        seed: seed of the random rows.
        rule_args: options of the rule.

    Returns:
        The worst case that was found.

    Raises:
        ValueError: the definition does not apply, since the rule has a state, reads the server's own data or works on
            shared batches; or an argument is out of range.

    References: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, AISTATS 2023, definition 2.
    """
    spec = rule_spec(rule)
    args = options(rule, spec, rule_args)
    not_forked()
    for name, value in (("m", m), ("f", f), ("d", d), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{name}={value!r} is not a whole number")
    if d < 1 or not 0 <= seed < 2**32:
        raise ValueError(f"d={d}, seed={seed}; expected d of at least 1, and a seed from 0 to 2**32 - 1")
    if spec.traits & {"stateful", "server"} or spec.factory(**args).redundancy > 1:
        raise ValueError(
            f"{rule} has no kappa: it is no function of one step's rows, but has a state, reads the server's data or "
            "works on shared batches. Choose another rule"
        )
    if not 1 <= f <= (m - 1) // 2:
        raise ValueError(f"f={f} is not from 1 to (m - 1) // 2 = {(m - 1) // 2}")
    check_shapes.fits(f"all candidates for m={m} workers", 4 * m * d * (m - f + len(battery_names())))
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
    """Honest rows from distributions that are hard for different kinds of rules."""
    normal = jax.random.normal(key, (h, d))
    few = (jnp.arange(h) < max(h // 4, 1))[:, None]  # the smaller group
    return {
        "normal": normal,
        "shifted": normal + 3,
        "heavy tails": normal / jax.random.uniform(jax.random.fold_in(key, 1), (h, 1), minval=0.05),
        "two groups": 0.01 * normal + jnp.where(few, 1.0, 0.0),
    }


def candidates(m: int, f: int) -> list[str]:
    """The names of the attacks that do not depend on the rule, in the order of `_rows`."""
    return [f"copies of worker {i}" for i in range(f, m)] + battery_names()


def _rows(honest: Float[Array, "h d"], f: int, key: Array) -> Float[Array, "n m d"]:
    """The rows of all workers under each of the `candidates`; the first f workers are Byzantine."""
    h, d = honest.shape
    byz = jnp.arange(h + f) < f
    updates = jnp.concatenate([honest[jnp.arange(f) % h], honest])
    copies = jnp.stack([jnp.where(byz[:, None], row, updates) for row in honest])
    return jnp.concatenate([copies, battery(updates, byz, oneshot.make_context(key, f, d, updates.dtype))])


def battery_names() -> list[str]:
    """The attacks of `battery`, in order: each with its defaults, then with each of its numbers at `STRENGTHS`."""
    each = [(name, args) for name in _attacks() for args in ({}, *({o: v} for o, at in _numbers(name) for v in at))]
    return [f"{name}({', '.join(f'{option}={value:g}' for option, value in args.items())})" for name, args in each]


def battery(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, "n m d"]:
    """The rows of all workers under every attack that is a function of one step's rows, at several strengths."""

    def rows(name: str, args: Mapping[str, Any]) -> Float[Array, "m d"]:
        return oneshot.forged_rows(ATTACKS[name].factory(**args), updates, byz, ctx)[0]

    parts = []
    for name in _attacks():
        parts.append(rows(name, {})[None])
        for option, values in _numbers(name):
            at = functools.partial(lambda name, option, value: rows(name, {option: value}), name, option)
            parts.append(jax.vmap(at)(jnp.array(values, updates.dtype)))
    return jnp.concatenate(parts)


def _attacks() -> list[str]:
    return [name for name, spec in ATTACKS.items() if not spec.traits & LEFT_OUT]


def _numbers(name: str) -> list[tuple[str, list[float]]]:
    """The numbers among the options of an attack, each with `STRENGTHS` times its default, or times 1 without one."""
    parameters = inspect.signature(ATTACKS[name].factory).parameters.items()
    found = {option: each.default for option, each in parameters if _is_number(each)}
    return [
        (option, [times * (1.0 if given is None else given) for times in STRENGTHS]) for option, given in found.items()
    ]


def _is_number(parameter: inspect.Parameter) -> bool:
    """Whether an option is a real number; its default may be None."""
    optional = parameter.default is None and float in get_args(parameter.annotation)
    return isinstance(parameter.default, float) or optional


@functools.lru_cache(maxsize=8)
def _compiled(make: Any, args: tuple[tuple[str, Any], ...], m: int, f: int, d: int) -> tuple[Any, Any]:
    """(listed, climb), compiled functions of (honest rows, key).

    `listed` returns the ratios of all `candidates`; `climb` returns {name: ratio} of the attacks that optimise against
    the rule.
    """
    rule = make(**dict(args))
    byz = jnp.arange(m) < f

    def ratio(rows: Float[Array, "m d"], key: Array) -> Float[Array, ""]:
        honest = rows[f:]
        mean = honest.sum(axis=0) / (m - f)
        variance = jnp.square(honest - mean[None]).sum() / (m - f)
        out, _ = oneshot.aggregate(rule, rows, oneshot.make_context(key, f, d, rows.dtype))
        return jnp.square(out - mean).sum() / variance

    def listed(honest: Float[Array, "h d"], key: Array) -> Float[Array, " n"]:
        return jax.lax.map(lambda rows: ratio(rows, key), _rows(honest, f, key))

    def climbing(attack: Attack, honest: Float[Array, "h d"], key: Array) -> Float[Array, ""]:
        updates = jnp.concatenate([honest[jnp.arange(f) % (m - f)], honest])
        ctx = oneshot.make_context(key, f, d, updates.dtype)
        return ratio(oneshot.forged_rows(attack, updates, byz, oneshot.against(rule, ctx))[0], key)

    def climb(honest: Float[Array, "h d"], key: Array) -> dict[str, Float[Array, ""]]:
        searching = [name for name, spec in ATTACKS.items() if "rule" in spec.traits and name != "learned"]
        found = {name: climbing(ATTACKS[name].factory(), honest, key) for name in searching}

        def within(budget: Float[Array, ""]) -> Float[Array, ""]:
            return climbing(ATTACKS["learned"].factory(steps=60, restarts=4, budget=budget), honest, key)

        learned = jax.lax.map(within, jnp.array(BUDGETS))
        return found | {f"learned(budget={b:g})": value for b, value in zip(BUDGETS, learned, strict=True)}

    return jax.jit(listed), jax.jit(climb)
