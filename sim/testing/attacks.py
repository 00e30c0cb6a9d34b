"""The contract of attacks."""

import functools
from collections.abc import Collection, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import oneshot
from byzsim.attacks import ATTACKS
from byzsim.testing._contract import Case, Promise, check, far, made_by, shown, spec_of
from byzsim.types import Attack, Context, Spec, State, begin
from jaxtyping import Array

BYZ = np.isin(np.arange(8), [1, 4, 6])  # of 2 attackers and fewer ALIE's z_max is 0
ROWS = np.random.default_rng(5).normal(size=(8, 11)).astype(np.float32)
ROUNDS = np.random.default_rng(6).normal(size=(50, 8, 11)).astype(np.float32)
LABELS, N_CLASSES = np.arange(10).reshape(2, 5), 10


def half(rows: Array) -> Array:
    """The rule in use: the mean of the half of the rows that have the smaller norms."""
    order = jnp.argsort(jnp.square(rows).sum(axis=1))[: (len(rows) + 1) // 2]
    return rows[order].mean(axis=0)


def context(key: Any, step: Any, byz: Any, d: int) -> Context:
    """What an attack may read in a step: the rule in use is `half`, the loss after the step a quadratic."""
    centre = jnp.linspace(-1, 1, d)
    return Context(
        jax.random.fold_in(key, step),
        jnp.int32(step),
        jnp.asarray(byz).sum(),
        params=2.75 * centre,
        previous=jnp.linspace(0, 1, d),
        aggregate=half,
        loss_after=lambda v: ((v - centre) ** 2).sum(),
        full_gradient=lambda: centre,
    )


def rounds(made: Attack, sent: Array, byz: Array, key: Any) -> Array:
    """The rows (t, m, d) that an attack sends in t steps, where honest workers would send `sent`."""

    def step(state: State, now: tuple[Array, Array]) -> tuple[State, Array]:
        t, rows = now
        rows, state = made.grads(rows, byz, state, context(key, t, byz, rows.shape[-1]))
        return state, rows

    first = begin(made, *sent.shape[1:], sent.dtype)
    return jax.lax.scan(step, first, (jnp.arange(len(sent)), sent))[1]


class Tried:
    """An attack under test: compiled once for each shape of rows."""

    def __init__(self, name: str, spec: Spec) -> None:
        self.name, self.spec = name, spec
        self.made: Attack = made_by(spec, Attack)
        self.run = jax.jit(lambda *given: rounds(self.made, *given))

    def __call__(self, sent: Any, byz: Any = BYZ, key: int = 0) -> np.ndarray:
        """The rows that all workers send in several steps, or in one."""
        several = np.asarray(sent, np.float32)
        steps = several if several.ndim == 3 else several[None]
        rows = np.asarray(self.run(jnp.asarray(steps), jnp.asarray(byz), jax.random.key(key)))
        return rows if several.ndim == 3 else rows[0]

    def labels(self, labels: Any, n_classes: int, key: int = 0) -> np.ndarray:
        """The labels on which Byzantine workers train."""
        ctx = Context(jax.random.key(key), jnp.int32(0), jnp.int32(1))
        return np.asarray(self.made.labels(jnp.asarray(labels), n_classes, ctx))


def forge(attack: Any, rows: Any, byz: Any = BYZ) -> np.ndarray:
    """The rows that an attack proposes for all workers, as the contract tries it.

    Args:
        attack, rows, byz: as in a report of `check_attack`; rows are (m, d) for one step, or (t, m, d).
    """
    return Tried(*spec_of(attack, ATTACKS, Attack))(rows, byz)


def check_attack(attack: Any, *, only: Collection[str] = ()) -> Case:
    """Check what every attack promises, and what the traits of this one promise.

    Every attack promises
        rows: it proposes rows (m, d) of the rows' dtype, finite unless it has the trait "non_finite". The engine keeps
            the honest workers' rows, so an attack cannot change them.
        labels: labels keep their shape and dtype and stay classes; they change if and only if it has the trait "data".
        state: the memory keeps its structure, shapes and dtypes; there is one if and only if the trait "stateful" is.
        key: it reads the random key if and only if it has the trait "stochastic".
        own_rows: it reads what its own workers would send if they were honest only if `reads_own_gradients` is True;
            where it is False, the engine does not compute these rows.
        full_gradient: it asks for the gradient over the whole training set if and only if it has that trait.
        params: what it sends depends on the parameters if and only if it has that trait.
        acts: within 50 steps it sends something else than honest work; with the trait "data" it changes labels only.
    A trait promises
        collusive: all Byzantine workers send the same row.
        non_finite: it sends NaN or infinities.

    Args:
        attack: a name in `byzsim.ATTACKS`, a `Spec`, a factory, or an `Attack`. Only a `Spec` states traits.
        only: names of promises; default: all.
    Returns:
        {name: promise} of those that are kept.
    Raises:
        BrokenPromise: with each broken promise and an input that breaks it, which `byzsim.testing.forge(attack, rows,
            byz)` takes.
        ValueError: `attack` cannot be checked, or there is no such promise.
    """
    name, spec = spec_of(attack, ATTACKS, Attack)
    made = tried(name) if isinstance(attack, str) else Tried(name, spec)
    return check(name, made, spec.traits, ATTACK_PROMISES, only)


@functools.cache
def tried(name: str) -> Tried:
    """A registered attack, compiled once for all checks."""
    return Tried(name, ATTACKS[name])


def _mismatch(attack: Tried, trait: str, has: bool, does: str) -> str | None:
    """A trait that says something else than what was seen."""
    if has == (trait in attack.spec.traits):
        return None
    return f"{does}, and it has {'no' if has else 'the'} trait {trait!r}"


def _rows(attack: Tried, rows: np.ndarray, byz: np.ndarray) -> str | None:
    sent = attack(rows, byz)
    if sent.shape != rows.shape or sent.dtype != np.float32:
        return f"rows are {sent.dtype} {sent.shape}; expected float32 {rows.shape}"
    finite = bool(np.isfinite(sent).all())
    return _mismatch(
        attack, "non_finite", not finite, f"the rows are {'' if finite else 'not '}finite: {shown(sent[byz])}"
    )


def _labels(attack: Tried, labels: np.ndarray, n_classes: int) -> str | None:
    before = np.asarray(jnp.asarray(labels))
    after = attack.labels(labels, n_classes)
    if after.shape != before.shape or after.dtype != before.dtype:
        return f"labels are {after.dtype} {after.shape}; expected {before.dtype} {before.shape}"
    if not 0 <= after.min() <= after.max() < n_classes:
        return f"labels go from {after.min()} to {after.max()}; expected 0 to {n_classes - 1}"
    changed = bool((after != before).any())
    return _mismatch(attack, "data", changed, "labels change" if changed else "no label changes")


def _state(attack: Tried, rows: np.ndarray, byz: np.ndarray) -> str | None:
    given, ctx = jnp.asarray(rows), context(jax.random.key(0), 0, byz, rows.shape[1])
    state = begin(attack.made, *rows.shape, given.dtype)
    after = jax.eval_shape(lambda: attack.made.grads(given, jnp.asarray(byz), state, ctx)[1])
    kinds = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (state, after)]
    if kinds[0] != kinds[1]:
        return f"the state is {kinds[0]} before a step, and {kinds[1]} after it"
    has = bool(jax.tree.leaves(state))
    return _mismatch(attack, "stateful", has, f"it has {'a' if has else 'no'} state")


def _key(attack: Tried, rows: np.ndarray, byz: np.ndarray) -> str | None:
    def all_that_changes(key: int) -> np.ndarray:
        return np.append(attack(rows, byz, key), attack.labels(LABELS, N_CLASSES, key))

    one, again, other = (all_that_changes(key) for key in (0, 0, 1))
    if not np.array_equal(one, again, equal_nan=True):
        return "the same key gives two results"
    reads = not np.array_equal(one, other, equal_nan=True)
    return _mismatch(
        attack, "stochastic", reads, f"the result {'changes' if reads else 'does not change'} with the key"
    )


def _own_rows(attack: Tried, sent: np.ndarray, byz: np.ndarray) -> str | None:
    """Whether it reads its own rows where it says that it does not."""
    return reading(attack, sent, byz) if not attack.made.reads_own_gradients else None


def reading(attack: Tried, sent: np.ndarray, byz: np.ndarray) -> str | None:
    """How the Byzantine workers' own rows change what they send; None if they do not."""
    moved = np.where(byz[:, None], sent + 1, sent)
    before, after = attack(sent, byz)[..., byz, :], attack(moved, byz)[..., byz, :]
    if np.array_equal(before, after, equal_nan=True):
        return None
    return f"it sends {shown(before)}, and {shown(after)} where the Byzantine rows are larger by 1"


def _full_gradient(attack: Tried, rows: np.ndarray, byz: np.ndarray) -> str | None:
    ctx = oneshot.make_context(jax.random.key(0), 3, rows.shape[1], aggregate=half, loss_after=jnp.sum)
    try:
        jax.eval_shape(lambda given: oneshot.forged_rows(attack.made, given, jnp.asarray(byz), ctx)[0], rows)
        asks = False
    except ValueError as error:
        if "full gradient" not in str(error):
            raise
        asks = True
    return _mismatch(attack, "full_gradient", asks, f"it {'asks' if asks else 'does not ask'} for the full gradient")


def _params(attack: Tried, rows: np.ndarray, byz: np.ndarray) -> str | None:
    given, who = jnp.asarray(rows), jnp.asarray(byz)

    @jax.jit
    def sent(times: Array) -> Array:
        ctx = context(jax.random.key(0), 0, who, given.shape[1])._replace(params=times * given[0])
        return attack.made.grads(given, who, begin(attack.made, *given.shape, given.dtype), ctx)[0]

    reads = not np.array_equal(sent(jnp.float32(1)), sent(jnp.float32(-1)), equal_nan=True)
    return _mismatch(
        attack, "params", reads, f"the rows {'change' if reads else 'do not change'} with the sign of the parameters"
    )


def _acts(attack: Tried, sent: np.ndarray, byz: np.ndarray) -> str | None:
    same = np.array_equal(attack(sent, byz)[..., byz, :], sent[..., byz, :])
    if "data" in attack.spec.traits:
        return None if same else "it has the trait 'data', and also changes rows"
    return f"in {len(sent)} steps it sends what honest workers would send" if same else None


def same_rows(attack: Tried, rows: np.ndarray, byz: np.ndarray) -> str | None:
    """All Byzantine workers send the same."""
    forged = attack(rows, byz)[byz]
    if not far(forged, np.broadcast_to(forged[0], forged.shape), rtol=0.0, atol=0.0):
        return None
    return f"Byzantine workers send {', '.join(shown(row) for row in forged)}"


def _once(attack: Tried) -> Iterable[Case]:
    return ({"rows": ROWS, "byz": BYZ},)


def _often(attack: Tried) -> Iterable[Case]:
    return ({"sent": ROUNDS, "byz": BYZ},)


ATTACK_PROMISES: dict[str, Promise] = {
    "rows": Promise("rows (m, d), finite unless it has the trait 'non_finite'", _rows, _once),
    "labels": Promise(
        "labels stay classes and change only with the trait 'data'",
        _labels,
        lambda attack: [{"labels": LABELS, "n_classes": N_CLASSES}],
    ),
    "state": Promise("the state keeps its structure", _state, _once),
    "key": Promise("the key is read with the trait 'stochastic' only", _key, _once),
    "own_rows": Promise("rows are not read that it says it does not read", _own_rows, _often),
    "full_gradient": Promise("the full gradient is asked for with that trait only", _full_gradient, _once),
    "params": Promise("the parameters are read with that trait only", _params, _once),
    "acts": Promise("sooner or later something else is sent than by honest workers", _acts, _often),
    "collusive": Promise("all Byzantine workers send the same row", same_rows, _once, "collusive"),
}
"""the contract that `check_attack` checks"""
