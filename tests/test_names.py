"""Names of several parts: rules behind pre-rules, attacks behind modifiers."""

import dataclasses
import inspect

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, ATTACKS, MODIFIERS, PRE_RULES, Cell
from byzsim.experiments.plan import cells
from byzsim.experiments.tables import TABLES
from byzsim.names import ALIASES, attack_entry, max_f, rule_entry
from byzsim.types import ATTACK_TRAITS, RULE_TRAITS
from test_aggregators import a_round

ROWS = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)


def parameters(entry):
    return inspect.signature(entry.make).parameters


@pytest.mark.parametrize(("inner", "outer"), [(AGGREGATORS, PRE_RULES), (ATTACKS, MODIFIERS)])
def test_options_are_told_apart_by_name(inner, outer):
    """Options of "nnm+krum" are given flat, so no wrapper may have an option that anything else has."""
    for name, entry in outer.items():
        others = {**inner, **{other: e for other, e in outer.items() if other != name}}
        for other, e in others.items():
            assert not set(parameters(entry)) & set(parameters(e)), (name, other)


@pytest.mark.parametrize("pre", sorted(PRE_RULES))
def test_a_pre_rule_goes_before_any_rule(pre, rule):
    made = rule_entry(f"{pre}+{rule}").make()
    state = made.init(*ROWS.shape)
    vector, after, info = jax.eval_shape(lambda: made.apply(jnp.asarray(ROWS), state, a_round(ROWS, jnp.int32(1))))
    assert (vector.shape, info.weight.shape) == ((5,), (8,))
    assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.slow
@pytest.mark.parametrize("pre", sorted(PRE_RULES))
@pytest.mark.parametrize("behind", ["krum", "median", "safeguard"])
def test_bad_rows_do_not_get_through_both(pre, behind):
    rows = np.concatenate([ROWS, -ROWS[:4]])  # enough for f = 1 in six buckets
    rows[3] = np.nan
    assert np.isfinite(byzsim.aggregate(f"{pre}+{behind}", rows, f=1)).all()


@pytest.mark.slow
def test_the_name_is_the_chain():
    nnm, krum = PRE_RULES["nnm"].make(), AGGREGATORS["krum"].make()
    chained = byzsim.chain(nnm, krum)
    rnd = byzsim.Round(None, None, 2)._replace(key=jax.random.key(0))
    np.testing.assert_array_equal(
        chained.apply(ROWS, chained.init(*ROWS.shape), rnd)[0], byzsim.aggregate("nnm+krum", ROWS, f=2)
    )


def test_pre_rules_act_from_left_to_right():
    """NNM first mixes an outlier in; clipped first, it is one row of the length of the others."""
    rows = np.concatenate([ROWS[:7], 50 * ROWS[7:]])
    first = byzsim.aggregate("clipping+nnm+mean", rows, f=0, clip_at=1.0)
    np.testing.assert_allclose(
        first, np.mean(rows / np.maximum(np.linalg.norm(rows, axis=1)[:, None], 1), axis=0), atol=1e-6
    )
    second = np.asarray(byzsim.aggregate("nnm+clipping+mean", rows, f=0, clip_at=1.0))
    mixed = rows.mean(axis=0)
    np.testing.assert_allclose(second, mixed / max(np.linalg.norm(mixed), 1), atol=1e-6)


def test_bounds_compose():
    assert max_f(rule_entry("nnm+krum"), 11, {}) == 4
    assert max_f(rule_entry("bucketing+median"), 11, {}) == 2  # six buckets
    assert max_f(rule_entry("bucketing+median"), 11, {"s": 3}) == 1
    assert Cell(rule="bucketing+median", rule_args={"s": 3}, m=11, n_byz=2).beyond_bound


def test_options_go_to_the_part_that_has_them():
    cell = Cell(rule="bucketing+krum", rule_args={"s": 3, "definition": "byzfl"})
    assert cell.rule_args == {"s": 3, "definition": "byzfl"}
    with pytest.raises(ValueError, match=r"unknown option of bucketing\+krum 'z'.*definition"):
        Cell(rule="bucketing+krum", rule_args={"z": 1})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nmn+krum", "unknown pre-rule 'nmn'. Did you mean 'nnm'"),
        ("nnm+krumm", "unknown rule 'krumm'. Did you mean 'krum'"),
        ("krum+nnm", "unknown rule 'nnm'"),
        ("nnm+", "unknown rule ''"),
        ("", "unknown rule ''"),
    ],
)
def test_unknown_parts_are_answered_with_the_nearest(name, message):
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        Cell(rule=name)


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_an_alias_is_one_member(alias):
    members = {**AGGREGATORS, **ATTACKS, **PRE_RULES, **MODIFIERS}
    assert alias not in members and ALIASES[alias] in members
    find = rule_entry if ALIASES[alias] in AGGREGATORS else attack_entry
    if ALIASES[alias] not in PRE_RULES:
        assert find(alias) is find(ALIASES[alias]) is members[ALIASES[alias]]


def test_a_cell_goes_by_the_usual_name():
    cell = Cell(rule="nearest_neighbor_mixing+mkrum", attack="burst+ipm", n_byz=2)
    assert cell == Cell(rule="nnm+multi_krum", attack="burst+inner_product", n_byz=2)
    assert (cell.as_dict()["rule"], cell.as_dict()["attack"]) == ("nnm+multi_krum", "burst+inner_product")
    np.testing.assert_array_equal(byzsim.aggregate("cwmed", ROWS), byzsim.aggregate("median", ROWS))
    np.testing.assert_array_equal(byzsim.attack("foe", ROWS, n_byz=1), byzsim.attack("inner_product", ROWS, n_byz=1))


def test_a_table_takes_the_usual_names():
    changes = {"rules": ("cwmed", "rfa"), "attacks": ("ipm", "lf"), "options": ("ipm.epsilon=2",)}
    config = dataclasses.replace(TABLES["smoke"].config, **changes).with_our_names()
    assert (config.rules, config.attacks) == (("median", "geometric_median"), ("inner_product", "label_flip"))
    (cell,) = cells(config, ["rule=cwmed,attack=ipm,alpha=0.2"])
    assert (cell.rule, cell.attack, cell.attack_args["epsilon"]) == ("median", "inner_product", 2.0)


def test_what_is_registered_goes_before_an_alias(monkeypatch):
    monkeypatch.setitem(AGGREGATORS, "rfa", AGGREGATORS["mean"])
    assert rule_entry("rfa") is AGGREGATORS["mean"] and Cell(rule="rfa").rule == "rfa"


def test_needs_add_up_and_promises_are_shared():
    assert "stochastic" in rule_entry("bucketing+median").traits
    assert "coordinatewise" not in rule_entry("nnm+median").traits
    assert "consensus" in rule_entry("nnm+median").traits


def test_traits_are_known_ones():
    for entry in PRE_RULES.values():
        assert entry.traits <= set(RULE_TRAITS)
    for entry in [*ATTACKS.values(), *MODIFIERS.values()]:
        assert entry.traits <= set(ATTACK_TRAITS)


@pytest.mark.parametrize(
    ("name", "zoo"), [("aggregators", AGGREGATORS), ("attacks", ATTACKS), ("pre_rules", PRE_RULES)]
)
def test_readings_can_be_made_and_the_first_is_the_default(name, zoo):
    for entry in zoo.values():
        for reading in entry.readings:
            entry.make(**reading.options)
            assert reading.formula and reading.source
        defaults = {key: p.default for key, p in parameters(entry).items()}
        for reading in entry.readings[:1]:
            assert all(defaults[key] == value for key, value in reading.options.items())


def test_a_burst_comes_and_goes():
    rounds = np.random.default_rng(1).normal(size=(9, 6, 4)).astype(np.float32)
    sent = byzsim.attack("burst+zero_gradient", rounds[:, :4], own=rounds[:, 4:], n_byz=2, on=2, off=3, first=1)
    for step, rows in enumerate(np.asarray(sent)):
        active = step >= 1 and (step - 1) % 5 < 2
        np.testing.assert_array_equal(rows, np.zeros((2, 4)) if active else rounds[step, 4:])
    assert attack_entry("burst+label_flip").traits == {"data"}
