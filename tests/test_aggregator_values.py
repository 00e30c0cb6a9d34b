"""What rules and preaggregators compute: against float64 loops written from the papers, and known answers."""

import functools
import inspect
import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, PREAGGREGATORS, Aggregator, Context, Info
from byzsim.ops import order
from zoo import as_users_do, called, known_answers, of, reference

CHOICES = [
    (kind, name, options)
    for kind, zoo in (("aggregators", AGGREGATORS), ("preaggregators", PREAGGREGATORS))
    for name in zoo
    for options in reference(kind, name).OPTIONS
]
GOLDEN = [(kind, *answer) for kind in ("aggregators", "preaggregators") for answer in known_answers(kind)]
ROUNDS = 50


def inputs(m, d=9):
    draw = np.random.default_rng(m)
    normal = draw.normal(size=(m, d))
    outliers = normal.copy()
    outliers[1::3] *= 1000
    one_outlier = normal.copy()
    one_outlier[4] *= 100  # fewer than m / 4
    bad = normal.copy()
    bad[0, 0], bad[2], bad[5, 3] = np.nan, 1e38, np.inf
    few = {}
    for i in range(12):
        few[f"few columns {i}"] = np.zeros((m, d))  # the same for all, so without effect
        few[f"few columns {i}"][:, :3] = draw.integers(-3, 4, (m, 3)) / 2
    return few | {
        "normal": normal,
        "tied": draw.integers(-3, 4, (m, d)) / 2,  # exact in float32: equal scores, distances and column means
        "outliers": outliers,
        "one outlier": one_outlier,
        "bad": bad,
        "drift": normal + 3,
    }


CENTRE = np.linspace(1, 2, 64)


def server_loss(params):
    """A loss that has a different gradient at every point."""
    return ((params - CENTRE[: len(params)]) ** 2).sum() / 4


def context(key, step, d, previous=None):
    return SimpleNamespace(
        key=key,
        step=step,
        lr=0.125,
        params=np.full(d, 0.25 * (1 + step)),
        previous=np.zeros(d) if previous is None else previous,
        server_loss=lambda params: float(server_loss(params)),
        server_gradient=lambda params: (params - CENTRE[: len(params)]) / 2,
    )


def as_context(key, step, f, d):
    centre = jnp.asarray(CENTRE[:d], jnp.float32)
    return Context(
        key,
        step,
        f,
        0.125,
        jnp.full(d, 0.25 * (1 + step)),
        jnp.zeros(d),
        lambda n: lambda p: ((p - centre) ** 2).sum() / 4,
    )


def expected(kind, name, rows, f, options, seed=0):
    """The reference's answer to one round, or to a list of rounds."""
    loop = getattr(reference(kind, name), name)
    several = rows.ndim == 3
    keys = [jax.random.fold_in(jax.random.key(seed), t) for t in range(len(rows) if several else 1)]
    given = [context(key, t, rows.shape[-1]) for t, key in enumerate(keys)]
    known = {"ctx": given if several else given[0]} if "ctx" in inspect.signature(loop).parameters else {}
    with np.errstate(all="ignore"):
        return np.array(loop(list(rows) if several else rows, f, **options, **known))


def rule_that_keeps(seen):
    """The mean; it puts its rows into a list, while it is traced: to see what a pre-rule makes of them."""

    def apply(rows, state, ctx):
        seen.append(rows.ravel())
        return rows.mean(axis=0), state, Info(jnp.ones(len(rows)))

    return Aggregator(lambda m, d: (), apply)


@functools.cache
def compiled(kind, call, jit):
    def run(options, rounds, f, key):
        made = call(**options)
        seen = []
        made = made(rule_that_keeps(seen)) if kind == "preaggregators" else made

        def step(state, now):
            t, rows = now
            ctx = as_context(jax.random.fold_in(key, t), t, f, rows.shape[-1])
            out, state, _ = made.apply(rows, state, ctx)
            return state, seen.pop() if seen else out

        state = made.init(*rounds.shape[1:])
        return jax.lax.scan(step, state, (jnp.arange(len(rounds)), rounds))[1]

    return jit(run)


def output(kind, name, rows, f, options, seed=0):
    """What `sim` makes of one round, or of a list of rounds."""
    rounds = np.asarray(rows, np.float32).reshape(-1, *rows.shape[-2:])
    call, traced = called(kind, name, options)
    run = compiled(kind, call, jax.jit if options else as_users_do)
    out = run(traced, jnp.asarray(rounds), jnp.int32(f), jax.random.key(seed))
    out = np.asarray(out).reshape(len(rounds), *((-1, rows.shape[-1]) if kind == "preaggregators" else (-1,)))
    return out if rows.ndim == 3 else out[0]


def rows_as(several, rows):
    """Members with a memory see a list of rounds, even if of one."""
    return rows[None] if several else rows


MOVED_WITH_THE_ROWS = [
    (kind, name) for kind, name, options in CHOICES if not options and "translation" in of(kind)[name].traits
]


@pytest.mark.parametrize(("kind", "name"), MOVED_WITH_THE_ROWS)
def test_a_large_common_mean_costs_no_more_than_its_own_rounding(kind, name):
    """The rows differ by 1 in each of 200 coordinates, and have a mean of up to 10,000 in common."""
    m, d, f = 9, 200, 2
    draw = np.random.default_rng(3)
    rows = draw.normal(size=(m, d))
    rows[:f] += 1.5
    for ratio in (1.0, 300.0, 10_000.0):
        given = rows_as(
            "stateful" in of(kind)[name].traits,
            (rows + ratio * draw.normal(size=d)).astype(np.float32).astype(np.float64),
        )
        missed = output(kind, name, given, f, {}) - expected(kind, name, given, f, {})
        assert np.abs(missed).max() <= 1e-5 + 1e-6 * ratio


@pytest.mark.parametrize(
    ("kind", "name", "options", "m"),
    [
        pytest.param(*choice, m, marks=[pytest.mark.slow] * (choice[0] == "aggregators" or bool(choice[-1]) or m == 8))
        for choice in CHOICES
        for m in (7, 8)
        if m == 8 or not choice[-1]
    ],
    ids=str,
)
def test_like_the_reference(kind, name, options, m):
    """Defaults with both numbers of workers, other options with the even one, where more of them differ."""
    module = reference(kind, name)
    near = getattr(module, "TOLERANCE", 1e-5)
    for case, rows in inputs(m).items():
        if not getattr(module, "compares", lambda *_: True)(case, options):
            continue
        exact = rows_as("stateful" in of(kind)[name].traits, rows.astype(np.float32).astype(np.float64))
        for f in getattr(module, "F", (1,)):
            np.testing.assert_allclose(
                output(kind, name, exact, f, options),
                expected(kind, name, exact, f, options),
                rtol=near,
                atol=near,
                err_msg=f"{case}, f = {f}",
            )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["median", "trimmed_mean", "meamed", "phocas", "bulyan", "aksel", "brsgd"])
def test_more_workers_than_a_sorting_network_takes(name):
    options = {"selection": "once"} if name == "bulyan" else {}
    m, f, near = order.NETWORK + 1, 20, getattr(reference("aggregators", name), "TOLERANCE", 1e-5)
    for case in ("normal", "tied", "outliers", "bad"):
        rows = inputs(m)[case].astype(np.float32).astype(np.float64)
        ours, exact = (of_rows("aggregators", name, rows, f, options) for of_rows in (output, expected))
        np.testing.assert_allclose(ours, exact, rtol=near, atol=near, err_msg=case)


STATEFUL = [(name, options) for kind, name, options in CHOICES if "stateful" in of(kind)[name].traits]


def stream():
    """Fifty rounds in which one worker drifts and another goes wild for a while."""
    rounds = np.random.default_rng(1).normal(size=(ROUNDS, 7, 9)) + 0.3
    rounds[:, 2] += 1.2
    rounds[20:30, 4] *= 100
    return rounds.astype(np.float32).astype(np.float64)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), STATEFUL, ids=str)
def test_fifty_rounds_like_the_reference(name, options):
    rounds = stream()
    near = 5 * getattr(reference("aggregators", name), "TOLERANCE", 1e-5)
    np.testing.assert_allclose(
        output("aggregators", name, rounds, 2, options),
        expected("aggregators", name, rounds, 2, options),
        rtol=near,
        atol=near,
    )


SAME = [  # by definition
    {"multi_krum {'variant': 'torchjd'}", "krum {'variant': 'torchjd'}"},
    {"multi_krum {'variant': 'fedlib'}", "krum {'variant': 'epfml'}"},
    {"finite_mean {}", "mean {}"},  # of finite rows
    {"finite_mean {}", "norm_quantile {'q': 1.0}"},
    {"mean {}", "norm_quantile {'q': 1.0}"},
]


@pytest.mark.slow
def test_the_inputs_tell_the_rules_and_options_apart():
    seen = {}
    for kind, name, options in CHOICES:
        if kind != "aggregators" or "non_finite" in options:
            continue
        several = "stateful" in AGGREGATORS[name].traits
        cases = []
        for m in (7, 8):
            good = [rows for case, rows in inputs(m).items() if case != "bad"]
            if several:
                cases += [(times * stream(), 2) for times in (0.1, 1, 4)]
            cases += [(rows[None] if several else rows, f) for rows in good for f in (1, 2)]
        seen[f"{name} {options}"] = kind, name, options, cases

    @functools.cache
    def answer(choice, i):
        kind, name, options, cases = seen[choice]
        rows, f = cases[i]
        return expected(kind, name, rows, f, options).ravel()

    alike = [  # most pairs differ in the first case, and need no other
        (a, b)
        for a, b in itertools.combinations(seen, 2)
        if len(seen[a][-1]) == len(seen[b][-1])
        and all(np.allclose(answer(a, i), answer(b, i)) for i in range(len(seen[a][-1])))
    ]
    assert not [pair for pair in alike if set(pair) not in SAME]


@pytest.mark.parametrize("shift", [0, 1e4])
def test_the_geometric_median_does_not_rest_early_beside_a_large_mean(shift):
    """Rows of spread 1 far away from zero: the minimum of the sum of distances, by long iteration in float64."""
    rows = np.random.default_rng(3).normal(size=(9, 4)) ** 3
    exact = expected("aggregators", "geometric_median", rows, 0, {"start": "median", "steps": 20000, "nu": 1e-12})
    options = {"start": "mean", "steps": 1000, "nu": 1e-6, "tolerance": 1e-4}
    np.testing.assert_allclose(
        output("aggregators", "geometric_median", rows + shift, 0, options) - shift, exact, atol=4e-3
    )


def test_brsgd_counts_bad_rows_only_when_told():
    """A NaN spoils every column mean, so all scores are alike and other rows are kept."""
    rows = inputs(7)["bad"]
    dropped, kept = (output("aggregators", "brsgd", rows, 3, {"non_finite": how}) for how in ("drop", "keep"))
    assert np.isfinite(dropped).all()
    assert not np.allclose(dropped, kept)
    finite = inputs(7)["normal"]
    np.testing.assert_array_equal(*(output("aggregators", "brsgd", finite, 1, o) for o in ({}, {"non_finite": "keep"})))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "golden", "through_jax"), GOLDEN, ids=lambda value: value if isinstance(value, str) else ""
)
def test_known_answers(kind, name, golden, through_jax):
    rows = np.array(golden["rows"], float)
    near = golden.get("tolerance", 1e-6)
    loop = expected(kind, name, rows, golden["f"], golden["options"])
    np.testing.assert_allclose(
        loop, golden["output"], rtol=max(near / 100, 1e-12), atol=near / 100, err_msg=golden["source"]
    )
    if through_jax:
        ours = output(kind, name, rows, golden["f"], golden["options"])
        np.testing.assert_allclose(ours, golden["output"], rtol=near, atol=1e-7 + near / 10)


@pytest.mark.parametrize(("bad", "count"), [(np.inf, 4), (np.inf, 5), (np.nan, 5), (-np.inf, 4), (-np.inf, 5)])
def test_median_beyond_its_bound_is_still_the_middle_value(bad, count):
    rows = np.ones((8, 2))
    rows[:count] = bad
    ours = output("aggregators", "median", rows, count, {})
    np.testing.assert_array_equal(ours, expected("aggregators", "median", rows, count, {}))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_brsgd_leaves_out_rows_that_are_not_usable_when_they_are_half(bad):
    rows = inputs(8)["normal"]
    rows[:4] = bad
    aggregate = output("aggregators", "brsgd", rows, 4, {})
    assert np.isfinite(aggregate).all() and aggregate.any()


def test_weiszfeld_steps_that_start_at_a_row_stay_there_as_in_byzpy():
    """byzpy 0.1.4, run: its lower median (-2, -2) is a row; the loops of `reference`, in float64, get away from it."""
    rows = np.array([[4, -3], [-5, 9], [-6, -3], [3, 5], [3, 7], [-9, -2], [1, -1], [-2, -2]])
    (byzpy,) = (each.options for each in AGGREGATORS["geometric_median"].variants if each.name == "byzpy")
    np.testing.assert_allclose(output("aggregators", "geometric_median", rows, 1, byzpy), [-2, -2], atol=1e-6)
