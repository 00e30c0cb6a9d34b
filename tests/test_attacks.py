"""The contract that every attack keeps, through the engine's own step, and what attacks send."""

import functools
import inspect
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import ATTACKS, Context
from byzsim.attacks._search import alie_z
from byzsim.testing import ATTACK_PROMISES, attacks, check_attack
from byzsim.testing.attacks import BYZ, ROUNDS, ROWS
from byzsim.testing.attacks import context as make_context
from zoo import as_users_do, called, known_answers, reference

TRACED = [
    (name, option)
    for name, spec in ATTACKS.items()
    for option, parameter in inspect.signature(spec.factory).parameters.items()
    if isinstance(parameter.default, float | None)
]


@functools.cache
def compiled_rounds(call, jit):
    return jit(lambda options, *given: attacks.rounds(call(**options), *given))


def forged_rounds(name, *, rounds, byz=BYZ, key=0, jit=jax.jit, **options):
    call, traced = called("attacks", name, options)
    run = compiled_rounds(call, jit)
    return np.asarray(run(traced, jnp.asarray(rounds), jnp.asarray(byz), jax.random.key(key)))


def forged(name, *, rows=ROWS, **how):
    return forged_rounds(name, rounds=rows[None], **how)[0]


MARKS = {"acts": pytest.mark.slow, "own_rows": pytest.mark.slow, "state": pytest.mark.types}
PROMISES = [
    (name, promise)
    for name, spec in sorted(ATTACKS.items())
    for promise, each in ATTACK_PROMISES.items()
    if each.trait in ("", *spec.traits) and (name, promise) != ("none", "acts")
]


@pytest.mark.parametrize(
    ("attack", "promise"),
    [pytest.param(*each, marks=MARKS.get(each[1], ())) for each in PROMISES],
)
def test_every_promise_is_kept(attack, promise):
    assert check_attack(attack, only=[promise]) == {promise: ATTACK_PROMISES[promise].words}


KINDS = ["none", "gaussian", "label_flip", "delayed_gradient", "optimal_alie", "learned"]  # one of each trait


@pytest.mark.slow
@pytest.mark.parametrize("attack", KINDS)
def test_honest_rows_reach_the_rule_bit_for_bit(attack, world):
    before, honest = world.sent(attack=attack, n_byz=0)
    after, rows = world.sent(attack=attack, n_byz=2, byzantine=(1, 3))
    np.testing.assert_array_equal(before.shards, after.shards)
    np.testing.assert_array_equal(rows[[0, 2]], honest[[0, 2]])
    if "stateful" not in ATTACKS[attack].traits:  # they may wait; see the next test
        assert (rows[[1, 3]] != honest[[1, 3]]).any() == (attack != "none")


@pytest.mark.slow
@pytest.mark.parametrize("attack", KINDS)
def test_without_byzantine_workers_nothing_changes(attack, world):
    np.testing.assert_array_equal(world.sent(attack=attack)[1], world.sent()[1])


def test_what_colludes_says_so(attack):
    """A trait that is missing would keep the engine from leaving out the Byzantine workers' own rows."""
    same = attacks.same_rows(attacks.tried(attack), ROWS, BYZ) is None
    assert same == ("collusive" in ATTACKS[attack].traits)


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "option"), TRACED)
def test_traced_strength_is_static_strength(attack, option):
    others = next(given for given in reference("attacks", attack).OPTIONS if option in given)  # with which it counts
    made, ctx = (
        ATTACKS[attack].factory(**others | {option: 3.0}),
        make_context(jax.random.key(0), 0, BYZ, ROWS.shape[1]),
    )
    static = jax.jit(lambda sent, byz: made.grads(sent, byz, made.init(*ROWS.shape), ctx)[0])(ROWS, BYZ)
    twice, thrice = (forged(attack, **others | {option: strength}) for strength in (2.0, 3.0))
    np.testing.assert_allclose(thrice[BYZ], static[BYZ], rtol=2e-6, atol=1e-7)  # two programs
    assert (twice[BYZ] != thrice[BYZ]).any()


def test_every_attack_is_documented_and_keyword_only(attack):
    spec = ATTACKS[attack]
    assert spec.summary.endswith(".") and spec.source
    assert {p.kind for p in inspect.signature(spec.factory).parameters.values()} <= {inspect.Parameter.KEYWORD_ONLY}


# Values


CHOICES = [(name, options) for name in ATTACKS for options in reference("attacks", name).OPTIONS]
GOLDEN = list(known_answers("attacks"))


def context(rows, byz, t, key):
    """What an attack may read: the rule in use is the mean of the rows of smaller norm, the loss a quadratic."""
    d = len(rows[0])
    centre = np.linspace(-1, 1, d)
    return SimpleNamespace(
        key=jax.random.fold_in(key, t),
        step=t,
        f=int(byz.sum()),
        params=2.75 * centre,
        previous=np.linspace(0, 1, d),
        aggregate=half_of_smaller_norm,
        loss_after=lambda v: ((v - centre) ** 2).sum(),
        full_gradient=centre,
    )


def half_of_smaller_norm(rows):
    order = np.argsort([(row**2).sum() for row in rows], kind="stable")[: (len(rows) + 1) // 2]
    return sum(rows[i] for i in order) / len(order)


def expected(name, rows, byz, options, seed=0):
    loop = getattr(reference("attacks", name), name)
    several = rows.ndim == 3
    rounds = rows if several else rows[None]
    given = [context(each, byz, t, jax.random.key(seed)) for t, each in enumerate(rounds)]
    known = {"ctx": given if several else given[0]} if "ctx" in inspect.signature(loop).parameters else {}
    with np.errstate(all="ignore"):
        return np.array(loop(list(rounds) if several else rows, byz, **options, **known))


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "options"), CHOICES, ids=str)
def test_like_the_reference(attack, options):
    several = "stateful" in ATTACKS[attack].traits
    rows = ROUNDS if several else ROWS
    near = getattr(reference("attacks", attack), "TOLERANCE", 2e-5)
    jit = jax.jit if options else as_users_do
    for byz in [np.isin(np.arange(8), [1, 4][:n]) for n in (1, 2)] + [BYZ]:
        ours = forged_rounds(attack, byz=byz, rounds=rows if several else rows[None], jit=jit, **options)
        ours = ours if several else ours[0]
        wanted = expected(attack, rows.astype(float), byz, options)
        np.testing.assert_allclose(ours[..., byz, :], wanted, rtol=near, atol=near, err_msg=f"attackers: {byz}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "golden", "through_jax"), GOLDEN, ids=lambda value: value if isinstance(value, str) else ""
)
def test_known_answers(name, golden, through_jax):
    rows, byz = np.array(golden["rows"], float), np.array(golden["byz"], bool)
    rounds = rows if rows.ndim == 3 else rows[None]
    previous = np.array(golden.get("previous", np.zeros(rows.shape[-1])), float)
    near = golden.get("tolerance", 1e-6)

    given = [context(sent, byz, t, jax.random.key(0)) for t, sent in enumerate(rounds)]
    for known in given:
        known.previous, known.aggregate = previous, lambda rows: sum(rows) / len(rows)
    loop = getattr(reference("attacks", name), name)
    known = {"ctx": given if rows.ndim == 3 else given[0]} if "ctx" in inspect.signature(loop).parameters else {}
    slow = loop(list(rows) if rows.ndim == 3 else rows, byz, **golden["options"], **known)
    np.testing.assert_allclose(slow, golden["output"], rtol=near, atol=near, err_msg=golden["source"])
    if not through_jax:
        return
    made, mask, ours = ATTACKS[name].factory(**golden["options"]), jnp.asarray(byz), []
    state = made.init(*rounds.shape[1:])
    for t, sent in enumerate(rounds):
        ctx = make_context(jax.random.key(0), t, byz, rows.shape[-1])
        ctx = ctx._replace(previous=jnp.float32(previous), aggregate=lambda rows: rows.mean(axis=0))
        forged_rows, state = jax.jit(lambda sent, state, ctx=ctx: made.grads(sent, mask, state, ctx))(sent, state)
        ours.append(forged_rows[byz])
    np.testing.assert_allclose(ours if rows.ndim == 3 else ours[0], golden["output"], rtol=near, atol=near)


@pytest.mark.parametrize(
    ("attack", "first", "shift", "output"),
    [
        ("optimal_alie", 0, 0, [37.35533905932738, 43.37849927241487, 27.41851217221259]),
        ("optimal_alie", 3, 0, [45.3317652729776, 54.72947441089743, 66.1920240520265]),
        ("optimal_alie", 6, 2, [4.166666666666667, 3.8333333333333335, 3.1666666666666665]),
        ("optimal_inner_product", 0, 0, [-5.946567441776643, -1.7839702325329927, -1.1893134883553287]),
        ("optimal_inner_product", 3, 0, [-7.56206496739492, -3.2408849860263946, -5.401474976710658]),
        ("optimal_inner_product", 6, 2, [-4.473924266669, -4.1160103253333356, -3.4001824426666682]),
    ],
)
def test_the_searches_of_byzfl(attack, first, shift, output):
    """byzfl 0.0.11, run: its classes with f = 3, no pre-aggregator, and the rule `half` on these honest rows."""
    rows = [[1, 2, 0], [4, -1, 3], [-2, 5, 1], [7, 3, -4], [0, -6, 2], [3, 8, 5], [-5, 1, 9], [2, -3, -7]]
    rows = np.array(rows[:6] if first == 6 else rows[first : first + 5], float) + shift
    byz = np.arange(len(rows) + 3) >= len(rows)
    sent = np.concatenate([rows, np.zeros((3, 3))])
    found = forged(attack, rows=np.float32(sent), byz=byz, line_search="up")[byz]
    np.testing.assert_allclose(found, [output] * 3, rtol=2e-6)
    np.testing.assert_allclose(expected(attack, sent, byz, {"line_search": "up"}), [output] * 3, rtol=1e-12)


def test_random_labels_are_uniform():
    """Each class as often as the others, within six standard errors, whatever the true label is."""
    n, classes = 20_000, 5
    ctx = Context(jax.random.key(0), jnp.int32(0), jnp.int32(1))
    drawn = ATTACKS["random_labels"].factory().labels(jnp.full((2, n // 2), 3), classes, ctx)
    np.testing.assert_allclose(np.bincount(np.ravel(drawn), minlength=classes) / n, 1 / classes, atol=6 * 0.4 / n**0.5)
    assert (drawn[0] != drawn[1]).any()


OTHERS = [  # options with which an attack reads its own workers' work, or does not, unlike by default
    ("byzmean", {"variant": "signguard"}),
    ("fang_trim", {"knowledge": "partial"}),
    ("gaussian", {"noise": "add"}),
    ("negation", {"variant": "code"}),
    ("safeguard_attack", {"gradient": "mean"}),
    ("scaling", {"gradient": "mean"}),
    ("sign_flip", {"gradient": "first"}),
    ("sign_flip", {"gradient": "mean"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "options"), [*((name, {}) for name in ATTACKS), *OTHERS], ids=str)
def test_an_attack_says_whether_it_reads_byzantine_rows(attack, options):
    moved = np.where(BYZ[:, None], ROUNDS + 1, ROUNDS)
    before, after = forged_rounds(attack, rounds=ROUNDS, **options), forged_rounds(attack, rounds=moved, **options)
    own = ATTACKS[attack].factory(**options).reads_own_gradients
    assert np.array_equal(before[:, BYZ], after[:, BYZ], equal_nan=True) == (not own)
    if "collusive" in ATTACKS[attack].traits and not options:
        assert not own


@pytest.mark.parametrize(
    ("m", "n_byz", "z"),
    [(10, 4, 0.4307), (10, 3, 0.18), (10, 2, 0), (20, 4, 0.1573), (20, 8, 0.6745), (20, 10, 1.2816), (25, 11, 1.0676),
     (50, 12, 0.3360), (51, 24, 1.4461), (20, 1, 0)],
)  # fmt: skip
def test_z_max(m, n_byz, z):
    assert float(alie_z(jnp.arange(m) < n_byz)) == pytest.approx(z, abs=6e-5)


def test_z_max_stays_finite_for_a_majority():
    assert np.isfinite([float(alie_z(jnp.arange(10) < n)) for n in range(11)]).all()


def test_gaussian_noise_is_normal_and_independent_between_workers():
    byz, n = np.array([True, False, True]), 20_000
    a, kept, b = forged("gaussian", byz=byz, rows=np.ones((3, n), np.float32)).astype(float) / 200
    assert (kept * 200 == 1).all()
    for row in (a, b):  # six standard errors
        assert abs(row.mean()) < 6 / n**0.5
        assert abs((row**2).mean() - 1) < 6 * (2 / n) ** 0.5
        assert abs((row**4).mean() - 3) < 6 * (96 / n) ** 0.5
    assert abs((a * b).mean()) < 6 / n**0.5


def test_gaussian_noise_does_not_depend_on_who_else_attacks():
    alone = np.arange(8) == 4
    np.testing.assert_array_equal(forged("gaussian")[4], forged("gaussian", byz=alone)[4])


@pytest.mark.parametrize("n_classes", [2, 10])
def test_label_flip_mirrors_the_labels(n_classes):
    labels = jnp.arange(n_classes)[None]
    ctx = Context(jax.random.key(0), jnp.int32(0), jnp.int32(1))
    flipped = ATTACKS["label_flip"].factory().labels(labels, n_classes, ctx)
    np.testing.assert_array_equal(flipped, labels[:, ::-1])
