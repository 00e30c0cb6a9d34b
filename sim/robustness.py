"""How robust a rule is, measured: a lower bound on its (f, kappa) coefficient by a battery of attacks."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sim.attacks import ATTACKS
from sim.names import options, rule_entry
from sim.types import Entry, Round

STRENGTHS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)  # times the default of an attack's only number
BUDGETS = (0.5, 1.0, 2.0, 5.0)  # of the learned attack: the harm often peaks just inside what a rule accepts
LEFT_OUT = {"data", "rule", "stateful", "non_finite"}  # no vectors of one step that can be listed before the rule


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


def robustness(rule: str, m: int, f: int, d: int = 10, *, seed: int = 0, **rule_args: Any) -> Robustness:
    """An empirical lower bound on a rule's robustness coefficient, with f = n_byz.

    F is (f, kappa)-robust if for any m rows and any set H of m - f of them

        ||F(x) - mean_H||^2 <= kappa * (1 / |H|) sum over H of ||x_i - mean_H||^2

    Honest rows are drawn in four ways; Byzantine rows come from every attack of the registry that is a function of one
    step's rows, at several strengths, from copies of each honest row, and from `learned` and the line-searched attacks,
    which climb through the rule. The largest ratio is a proof that no smaller kappa holds; it is not kappa.

    Args:
        rule: a name in `sim.AGGREGATORS`, behind pre-rules if wanted; without memory and without server data.
        m, f, d: workers, Byzantine ones among them, coordinates.
        seed: of the draws.
        rule_args: its options.
    Raises:
        ValueError: for a rule with memory or with data of the server's own, to which the definition does not apply; f
            not from 1 to (m - 1) // 2.
    References: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, AISTATS 2023, definition 2.
    """
    entry = rule_entry(rule)
    args = options(rule, entry, rule_args)
    if entry.traits & {"stateful", "server"}:
        raise ValueError(f"{rule} remembers earlier steps or asks for the server's data: kappa is of rows alone")
    if not 1 <= f <= (m - 1) // 2:
        raise ValueError(f"f={f} is not from 1 to (m - 1) // 2 = {(m - 1) // 2}")
    ratio, climb = _compiled(entry.make, tuple(args.items()), m, f, d)
    worst = Robustness(0.0, "none", "none", None if entry.kappa is None else entry.kappa(m, f))
    key = jax.random.key(seed)
    for which, (kind, honest) in enumerate(_honest(key, m - f, d).items()):
        drawn = jax.random.fold_in(key, 100 + which)
        names, rows = candidates(honest, f, drawn)
        found = dict(zip(names, np.asarray(ratio(rows, drawn)), strict=True)) | climb(honest, drawn)
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


def candidates(honest: Float[Array, "h d"], f: int, key: Array) -> tuple[list[str], Float[Array, "n m d"]]:
    """All that can be listed before the rule is known: (names, the rows of all workers, Byzantine ones last)."""
    h, d = honest.shape
    byz = jnp.arange(h + f) >= h
    sent = jnp.concatenate([honest, honest[jnp.arange(f) % h]])
    rnd = Round(key, jnp.int32(0), jnp.int32(f), previous=jnp.zeros(d))
    named = {f"copies of worker {i}": jnp.broadcast_to(honest[i], sent.shape) for i in range(h)}
    for name, entry in ATTACKS.items():
        if not entry.traits & LEFT_OUT:
            for args in _strengths(entry):
                made = entry.make(**args)
                text = ", ".join(f"{key}={value:g}" for key, value in args.items())
                named[f"{name}({text})"] = made.grads(sent, byz, made.init(*sent.shape), rnd)[0]
    return list(named), jnp.where(byz[:, None], jnp.stack(list(named.values())), sent)


def _strengths(entry: Entry) -> list[Mapping[str, float]]:
    """The attack's own defaults, and each of its float options at other values."""
    defaults = {name: p.default for name, p in inspect.signature(entry.make).parameters.items()}
    numbers = {name: 1.0 if value is None else value for name, value in defaults.items() if _is_number(entry, name)}
    return [{}, *({name: times * value} for name, value in numbers.items() for times in STRENGTHS)]


def _is_number(entry: Entry, option: str) -> bool:
    parameter = inspect.signature(entry.make).parameters[option]
    return isinstance(parameter.default, float) or (parameter.default is None and "Traced" in str(parameter.annotation))


@functools.cache
def _compiled(make: Any, args: tuple[tuple[str, Any], ...], m: int, f: int, d: int):
    """(ratios of listed rows, ratios of what climbs through the rule by name)."""
    rule = make(**dict(args))
    byz = jnp.arange(m) >= m - f

    def ratio(rows, key):
        honest = rows[: m - f]
        mean = jnp.where(byz[:, None], 0.0, rows).sum(axis=0) / (m - f)
        variance = jnp.square(honest - mean).sum() / (m - f)
        out = rule.apply(rows, rule.init(m, d), Round(key, jnp.int32(0), jnp.int32(f)))[0]
        return jnp.square(out - mean).sum() / variance

    def climbing(attack):
        def found(honest, key):
            sent = jnp.concatenate([honest, honest[jnp.arange(f) % (m - f)]])
            rnd = Round(key, jnp.int32(0), jnp.int32(f), previous=jnp.zeros(d))
            rnd = rnd._replace(aggregate=lambda rows: rule.apply(rows, rule.init(m, d), rnd)[0])
            rows = attack.grads(sent, byz, attack.init(m, d), rnd)[0]
            return ratio(jnp.where(byz[:, None], rows, sent), key)

        return found

    def climb(honest, key):
        names = [name for name, entry in ATTACKS.items() if "rule" in entry.traits and name != "learned"]
        found = {name: climbing(ATTACKS[name].make())(honest, key) for name in names}
        for budget in BUDGETS:
            attack = ATTACKS["learned"].make(steps=60, restarts=4, budget=budget)
            found[f"learned(budget={budget:g})"] = climbing(attack)(honest, key)
        return found

    return jax.jit(lambda rows, key: jax.lax.map(lambda each: ratio(each, key), rows)), jax.jit(climb)
