"""The attack that climbs through the rule, and the robustness coefficient that it helps to find."""

import byzsim
import jax.numpy as jnp
import numpy as np
import pytest

pytestmark = pytest.mark.slow

HONEST = np.random.default_rng(0).normal(size=(8, 20)).astype(np.float32) + 0.3
MEAN = HONEST.mean(axis=0)


def harm(rule, attack, **options):
    byz = byzsim.forge(attack, HONEST, n_byz=3, rule=rule, **options)
    return float(np.linalg.norm(byzsim.aggregate(rule, np.concatenate([byz, HONEST]), f=3) - MEAN))


CLIMBED = ["trimmed_mean", "median", "krum", "geometric_median", "nnm+median", "brsgd"]


@pytest.mark.parametrize("rule", CLIMBED)
def test_the_learned_attack_is_no_worse_than_its_starts(rule):
    radius = 3 * np.linalg.norm(HONEST - MEAN, axis=1).max()
    sigma = HONEST.std(axis=0)
    start = harm(rule, "alie", z=1.5)
    assert 1.5 * np.linalg.norm(sigma) < radius  # the start is inside the ball, as it is
    assert harm(rule, "learned", steps=5, restarts=1) >= start - 1e-5


def test_the_learned_attack_beats_alie_on_at_least_three_rules():
    both = {r: (harm(r, "learned", steps=30, restarts=4), harm(r, "alie", z=1.5)) for r in CLIMBED}
    assert sum(learned > 1.05 * alie for learned, alie in both.values()) >= 3, both


@pytest.mark.parametrize("within", ["distance", "norm"])
def test_the_budget_is_kept(within):
    budget = 0.7
    centre = MEAN if within == "distance" else 0
    radius = budget * np.linalg.norm(HONEST - centre, axis=1).max()
    for seed in range(3):
        (row, *_) = byzsim.forge("learned", HONEST, n_byz=3, within=within, budget=budget, restarts=3, seed=seed)
        assert np.linalg.norm(row - centre) <= radius * (1 + 1e-5)


def test_against_the_mean_it_goes_to_the_edge_and_descent_turns_around():
    (far, *_) = byzsim.forge("learned", HONEST, n_byz=3, budget=2.0, steps=20)
    assert np.linalg.norm(far - MEAN) == pytest.approx(2 * np.linalg.norm(HONEST - MEAN, axis=1).max(), rel=1e-3)
    (back, *_) = byzsim.forge("learned", HONEST, n_byz=3, objective="descent", steps=20)
    direction = np.asarray(back - MEAN)
    assert direction @ -MEAN / np.linalg.norm(direction) / np.linalg.norm(MEAN) > 0.999


def test_it_can_climb_the_loss_after_the_step():
    target = np.ones(20, np.float32)
    (row, *_) = byzsim.forge(
        "learned", HONEST, n_byz=3, objective="loss", loss_after=lambda v: jnp.vdot(v, target), steps=20
    )
    assert (row - MEAN) @ target / np.linalg.norm(row - MEAN) / np.linalg.norm(target) > 0.999


@pytest.mark.parametrize("objective", ["distance", "loss"])
def test_it_climbs_through_a_training_step(world, objective):
    history = world.simulate(
        rule="median", attack="learned", attack_args={"objective": objective}, m=5, n_byz=2, epochs=1
    )
    quiet = world.simulate(rule="median", attack="none", m=5, n_byz=2, epochs=1)
    assert history.error.mean() > quiet.error.mean()


def test_it_says_what_it_misses():
    with pytest.raises(ValueError, match="this attack needs the loss after a step: pass loss_after"):
        byzsim.forge("learned", HONEST, n_byz=3, objective="loss")
    with pytest.raises(ValueError, match="learned: steps=0 is not a whole number of at least 1"):
        byzsim.forge("learned", HONEST, n_byz=3, steps=0)


def test_kappa_of_the_median_is_between_its_bounds():
    """No rule is below f / (m - 2f) (Allouah et al. 2023, proposition 6); the median's published bound is far above."""
    found = byzsim.robustness("median", 7, 2, d=4)
    assert 2 / 3 - 1e-3 <= found.kappa <= found.bound


def test_the_mean_has_no_kappa():
    assert byzsim.robustness("mean", 7, 2, d=4).kappa > 1e6


def test_each_number_of_an_attack_is_tried():
    """Also numbers that the attack works out by default, such as ALIE's z."""
    names = byzsim.kappa.candidates(7, 2)
    for number in ("alie(z=1)", "rop(z=10)", "inner_product(epsilon=0.1)"):
        assert number in names


@pytest.mark.parametrize("f", [0, 4])
def test_f_has_to_leave_a_majority(f):
    with pytest.raises(ValueError, match=rf"f={f} is not from 1 to \(m - 1\) // 2 = 3"):
        byzsim.robustness("median", 7, f)


@pytest.mark.parametrize("rule", ["safeguard", "zeno", "draco"])
def test_what_is_no_function_of_rows_has_no_kappa(rule):
    with pytest.raises(ValueError, match=f"{rule} has no kappa: it is no function of one step's rows"):
        byzsim.robustness(rule, 7, 2)
