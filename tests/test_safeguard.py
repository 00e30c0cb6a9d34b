"""SafeguardSGD: Algorithm 1 by hand, and what its theory promises of whom it bans and when."""

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, Context

M, D, T, P = 10, 6, 100, 0.1
RUNS = 200
RADIUS = 1.0  # V: no honest gradient is farther from the true one
THRESHOLD = 8 * RADIUS * np.sqrt(T * np.log(16 * M * T / P)) / M
N_BYZ = 4


def banned_at(rows_of, steps, d=D, **options):
    """(RUNS, M): the step in which each worker is banned, `steps` if never; rows_of: (key, step) -> (M, d)."""
    rule = AGGREGATORS["safeguard"].factory(**options)

    def run(key):
        def step(state, t):
            draw, own = jax.random.split(jax.random.fold_in(key, t))
            _, state, _ = rule.apply(rows_of(draw, t), state, Context(own, t, jnp.int32(N_BYZ)))
            return state, state.good

        good = jax.lax.scan(step, rule.init(M, d), jnp.arange(steps))[1]
        return good.sum(axis=0)

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), RUNS)))


def clipped_gaussian(key, t):
    """i.i.d. Gaussian gradients around one that is not 0, kept within V of it, as the theory asks."""
    noise = jax.random.normal(key, (M, D)) * RADIUS / np.sqrt(D)
    norm = jnp.linalg.norm(noise, axis=1, keepdims=True)
    return 3.0 + jnp.sin(t / 50) + noise * jnp.minimum(1.0, RADIUS / norm)


GUARDS = {
    "double": {"guards": "double", "t0": T // 4, "t1": T},
    "single": {"guards": "single", "window": T},
    "algorithm 2": {"guards": "single", "horizon": float(T)},
}


@pytest.mark.slow
@pytest.mark.parametrize("guards", GUARDS)
def test_the_theory_never_bans_an_honest_worker(guards):
    assert (banned_at(clipped_gaussian, T, thresholds="theory", v=RADIUS, p=P, **GUARDS[guards]) == T).all()


@pytest.mark.slow
def test_a_bound_far_below_the_noise_bans_honest_workers():
    """So the test above is not passed by a rule that bans nobody."""
    at = banned_at(clipped_gaussian, T, thresholds="theory", v=RADIUS / 40, p=P, **GUARDS["double"])
    assert ((at < T).any(axis=1)).mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("guards", "shift"), [("single", 12.0), ("algorithm 2", 60.0)])
def test_constant_shifts_are_banned_when_the_theory_says(guards, shift):
    """With a Byzantine sum c t / m away from the honest ones' centre, which are within r = Th / 4 of it:

    the median machine has an honest worker within Th, so it is within Th + r of the centre. Nobody is banned before
    c t / m + r > 2 Th - (Th + r), and everybody is once c t / m - r > 2 Th + (Th + r).
    """

    def rows(key, t):
        return clipped_gaussian(key, t) + jnp.where(jnp.arange(M)[:, None] < N_BYZ, shift / np.sqrt(D), 0.0)

    at = banned_at(rows, T, thresholds="theory", v=RADIUS, p=P, **GUARDS[guards])
    earliest, latest = (M * k * THRESHOLD / shift for k in (0.5, 3.5))
    assert latest <= T
    assert (at[:, N_BYZ:] == T).all()
    assert (at[:, :N_BYZ] + 1 > earliest).all() and (at[:, :N_BYZ] + 1 <= np.ceil(latest)).all()


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 3, 30])
def test_projected_thresholds_keep_honest_workers_and_ban_those_who_drift(d):
    """Two windows of normal noise, 200 runs: in no more than one of fifty is one of ten banned.

    Four workers that add 2.5 standard deviations in every coordinate are.
    """

    def noise(key, t):
        return jax.random.normal(key, (M, d))

    def drift(key, t):
        return noise(key, t) + jnp.where(jnp.arange(M)[:, None] < N_BYZ, 2.5, 0.0)

    assert (banned_at(noise, 2 * T, d=d, t0=T // 6, t1=T) < 2 * T).any(axis=1).mean() <= 0.02
    at = banned_at(drift, 2 * T, d=d, t0=T // 6, t1=T) < 2 * T
    assert at[:, :N_BYZ].mean() > 0.98 and at[:, N_BYZ:].mean() < 0.002


def test_algorithm_1_by_hand():
    """Five workers, Th1 = 1.5 over four steps, Th0 = 1 over two; the last sends 5, a fifth of which counts.

    Its B is 1, 2, 1, 2 and stays within 2 Th0 = 2. Its A is 1, 2, 3, 4: beyond 2 Th1 = 3 in the fourth step, in which
    it still counts. Afterwards it never does, though it sends what all others do.
    """
    honest = [[0.0], [0.5], [-0.5], [0.0]]
    rows = np.array([[*honest, [5.0]]] * 4 + [[*honest, [0.0]]] * 4, np.float32)
    options = {"thresholds": "given", "t0": 2, "t1": 4, "th0": 1.0, "th1": 1.5}
    got = byzsim.aggregate("safeguard", rows, f=1, **options)
    np.testing.assert_allclose(got[:, 0], [1, 1, 1, 1, 0, 0, 0, 0], atol=1e-6)
    rows[4:, 4] = 8.0  # banned for good: whatever it sends now
    np.testing.assert_allclose(byzsim.aggregate("safeguard", rows, f=1, **options)[4:, 0], 0, atol=1e-6)
    slow = byzsim.aggregate("safeguard", rows[:4], f=1, guards="single", window=2, thresholds="given", th0=1.0)
    np.testing.assert_allclose(slow[:, 0], 1, atol=1e-6)  # B alone never sees it


def test_the_accumulators_divide_by_how_many_are_left():
    """One of five is banned at once; from then on a fourth of what is sent counts, so 2 Th0 = 2 is passed by 3 x 3 / 4.

    With a fifth it would be 3 x 3 / 5 = 1.8.
    """
    row = [[0.0], [0.0], [0.0], [3.0], [0.0]]
    rows = np.array([[*row[:3], [0.0], [1e3]], *[row] * 4], np.float32)
    got = byzsim.aggregate("safeguard", rows, f=2, guards="single", thresholds="given", th0=1.0)
    np.testing.assert_allclose(got[:, 0], [200, 0.75, 0.75, 0.75, 0], rtol=1e-6)


@pytest.mark.parametrize(("average", "first"), [("before", 200.0), ("after", 0.0)])
def test_who_is_caught_counts_in_that_step(average, first):
    rows = np.zeros((3, 5, 1), np.float32)
    rows[0, 4] = 1e3
    rows[1:, 4] = 5.0
    got = byzsim.aggregate("safeguard", rows, f=1, thresholds="given", average=average)
    np.testing.assert_allclose(got[:, 0], [first, 0, 0], rtol=1e-6)


def test_readmission_starts_everybody_anew():
    rows = np.zeros((6, 5, 1), np.float32)
    rows[0, 4] = 1e3
    rows[1:, 4] = 5.0
    got = byzsim.aggregate("safeguard", rows, f=1, thresholds="given", readmit=3)
    np.testing.assert_allclose(got[:, 0], [200, 0, 0, 1, 1, 1], rtol=1e-6)
