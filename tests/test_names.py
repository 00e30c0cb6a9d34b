"""Names of several parts: rules behind preaggregators, attacks behind modifiers."""

import inspect
import itertools
import typing

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, ATTACKS, MODELS, MODIFIERS, PREAGGREGATORS, RunConfig
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import override, runs
from byzsim.experiments.tables import TABLES
from byzsim.names import ALIASES, attack_spec, max_f, rule_spec
from byzsim.options import options, resolved, varying
from byzsim.types import ATTACK_TRAITS, RULE_TRAITS
from test_aggregators import make_context
from zoo import ZOOS

ROWS = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)


def parameters(spec):
    return inspect.signature(spec.factory).parameters


@pytest.mark.parametrize(("inner", "outer"), [(AGGREGATORS, PREAGGREGATORS), (ATTACKS, MODIFIERS)])
def test_options_are_told_apart_by_name(inner, outer):
    """Options of "nnm+krum" are given flat, so no wrapper may have an option that anything else has."""
    for name, spec in outer.items():
        others = {**inner, **{other: e for other, e in outer.items() if other != name}}
        for other, e in others.items():
            assert not set(parameters(spec)) & set(parameters(e)), (name, other)


@pytest.mark.parametrize("pre", sorted(PREAGGREGATORS))
def test_a_pre_rule_goes_before_any_rule(pre, rule):
    made = rule_spec(f"{pre}+{rule}").factory()
    state = made.init(*ROWS.shape)
    vector, after, info = jax.eval_shape(lambda: made.apply(jnp.asarray(ROWS), state, make_context(ROWS, jnp.int32(1))))
    assert (vector.shape, info.weight.shape) == ((5,), (8,))
    assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.slow
@pytest.mark.parametrize("pre", sorted(PREAGGREGATORS))
@pytest.mark.parametrize("behind", ["krum", "median", "safeguard"])
def test_bad_rows_do_not_get_through_both(pre, behind):
    rows = np.concatenate([ROWS, -ROWS[:4]])  # enough for f = 1 in six buckets
    rows[3] = np.nan
    assert np.isfinite(byzsim.aggregate(f"{pre}+{behind}", rows, f=1)).all()


@pytest.mark.slow
def test_the_name_is_the_chain():
    nnm, krum = PREAGGREGATORS["nnm"].factory(), AGGREGATORS["krum"].factory()
    chained = byzsim.chain(nnm, krum)
    ctx = byzsim.Context(None, None, 2)._replace(key=jax.random.key(0))
    np.testing.assert_array_equal(
        chained.apply(ROWS, chained.init(*ROWS.shape), ctx)[0], byzsim.aggregate("nnm+krum", ROWS, f=2)
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
    assert max_f(rule_spec("nnm+krum"), 11, {}) == 4
    assert max_f(rule_spec("bucketing+median"), 11, {}) == 2  # six buckets
    assert max_f(rule_spec("bucketing+median"), 11, {"s": 3}) == 1
    assert RunConfig(rule="bucketing+median", rule_args={"s": 3}, m=11, n_byz=2).beyond_bound


def test_options_go_to_the_part_that_has_them():
    run_config = RunConfig(rule="bucketing+krum", rule_args={"s": 3, "variant": "byzfl"})
    assert run_config.rule_args == {"s": 3, "variant": "byzfl"}
    with pytest.raises(ValueError, match=r"unknown option of bucketing\+krum 'z'.*variant"):
        RunConfig(rule="bucketing+krum", rule_args={"z": 1})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nmn+krum", "unknown preaggregator 'nmn'. Did you mean 'nnm'"),
        ("nnm+krumm", "unknown rule 'krumm'. Did you mean 'krum'"),
        ("krum+nnm", "unknown rule 'nnm'"),
        ("nnm+", "unknown rule ''"),
        ("", "unknown rule ''"),
    ],
)
def test_unknown_parts_are_answered_with_the_nearest(name, message):
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        RunConfig(rule=name)


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_an_alias_is_one_member(alias):
    members = {**AGGREGATORS, **ATTACKS, **PREAGGREGATORS, **MODIFIERS}
    assert alias not in members and ALIASES[alias] in members
    find = rule_spec if ALIASES[alias] in AGGREGATORS else attack_spec
    if ALIASES[alias] not in PREAGGREGATORS:
        assert find(alias) is find(ALIASES[alias]) is members[ALIASES[alias]]


def test_a_run_goes_by_the_usual_name():
    run_config = RunConfig(rule="nearest_neighbor_mixing+mkrum", attack="burst+ipm", n_byz=2)
    assert run_config == RunConfig(rule="nnm+multi_krum", attack="burst+inner_product", n_byz=2)
    assert (run_config.as_dict()["rule"], run_config.as_dict()["attack"]) == ("nnm+multi_krum", "burst+inner_product")
    np.testing.assert_array_equal(byzsim.aggregate("cwmed", ROWS), byzsim.aggregate("median", ROWS))
    np.testing.assert_array_equal(byzsim.forge("foe", ROWS, n_byz=1), byzsim.forge("inner_product", ROWS, n_byz=1))


def test_a_table_takes_the_usual_names():
    changes = {"rules": ("cwmed", "rfa"), "attacks": ("ipm", "lf"), "options": ("ipm.epsilon=2",)}
    table = override(TABLES["smoke"], changes)
    assert [*table.by_name["rule"].settings] == ["median", "geometric_median"]
    assert [*table.by_name["attack"].settings] == ["inner_product", "label_flip"]
    ((_, run_config),) = runs(table, ["rule=cwmed,attack=ipm,alpha=0.2"])
    assert (run_config.rule, run_config.attack, run_config.attack_args["epsilon"]) == ("median", "inner_product", 2.0)


def test_what_is_registered_goes_before_an_alias(monkeypatch):
    monkeypatch.setitem(AGGREGATORS, "rfa", AGGREGATORS["mean"])
    assert rule_spec("rfa") is AGGREGATORS["mean"] and RunConfig(rule="rfa").rule == "rfa"


def test_needs_add_up_and_promises_are_shared():
    assert "stochastic" in rule_spec("bucketing+median").traits
    assert "coordinatewise" not in rule_spec("nnm+median").traits
    assert "consensus" in rule_spec("nnm+median").traits


def test_traits_are_known_ones():
    for spec in PREAGGREGATORS.values():
        assert spec.traits <= set(RULE_TRAITS)
    for spec in [*ATTACKS.values(), *MODIFIERS.values()]:
        assert spec.traits <= set(ATTACK_TRAITS)


# Variants


SEVERAL = [(name, spec) for zoo in ZOOS.values() for name, spec in zoo.items() if spec.variants]


def program(made):
    """What a factory has made, as values: code, and all that it closes over."""
    if inspect.isfunction(made):
        closed = [run_config.cell_contents for run_config in made.__closure__ or ()]
        return made.__code__, program(made.__defaults__ or ()), program(closed)
    return tuple(map(program, made)) if isinstance(made, list | tuple) else made


@pytest.mark.parametrize(("name", "spec"), SEVERAL, ids=lambda each: each if isinstance(each, str) else "")
def test_a_variant_is_its_options(name, spec):
    """For the factory itself as for what is asked by name; the first is the default."""
    assert len({variant.name for variant in spec.variants}) == len(spec.variants)
    for variant in spec.variants:
        assert variant.formula and variant.source
        made = program(spec.factory(**variant.options))
        assert program(spec.factory(variant=variant.name)) == made
        assert options(name, spec, {"variant": variant.name}) == options(name, spec, variant.options)
        assert (made == program(spec.factory())) == (options(name, spec, variant.options) == options(name, spec, {}))
    assert options(name, spec, {"variant": spec.variants[0].name}) == options(name, spec, {})


@pytest.mark.parametrize(("name", "spec"), SEVERAL, ids=lambda each: each if isinstance(each, str) else "")
def test_a_variant_is_asked_for_on_the_command_line(name, spec):
    field = "attack" if name in ATTACKS else "rule"
    asked = f"{name}+median" if name in PREAGGREGATORS else name
    changes = {f"{field}s": (asked,), "alphas": (0.2,)}
    for variant in spec.variants:
        options = (f"{name}.variant={variant.name}",)
        (_, run_config), *_ = runs(override(TABLES["smoke"], changes | {"options": options}))
        given = {"rule": run_config.rule, "attack": run_config.attack, f"{field}_args": variant.options}
        assert getattr(run_config, f"{field}_args") == getattr(RunConfig(**given), f"{field}_args")


def test_each_part_has_variants_of_its_own_on_the_command_line():
    asked = ("bucketing.variant=byzfl", "krum.variant=alie")

    def rule_args(*options):
        table = override(TABLES["smoke"], {"rules": ("bucketing+krum",), "options": options})
        return {repr(run_config.rule_args) for _, run_config in runs(table)}

    assert rule_args(*asked) == {"{'s': 1, 'variant': 'alie'}"}
    assert rule_args("bucketing+krum.variant=byzfl") == {"{'s': 2, 'variant': 'byzfl'}"}
    with pytest.raises(UserError, match=r"--options: unknown variant of krum 'byzfk'\. Did you mean 'byzfl'"):
        rule_args("krum.variant=byzfk")


def test_in_python_the_variant_is_the_last_parts(compiled):
    args = RunConfig(rule="bucketing+krum", rule_args={"variant": "byzfl", "s": 3}).rule_args
    assert args == {"s": 3, "variant": "byzfl"}
    assert RunConfig(attack="burst+alie", attack_args={"variant": "krum"}).attack_args["supporters"] == "all"
    one = byzsim.aggregate("nnm+krum", ROWS, f=2, variant="byzfl")
    sent = byzsim.forge("burst+alie", ROWS, n_byz=3, first=0, variant="krum", byzantine_gradients=ROWS[:3])
    programs = len(compiled)
    np.testing.assert_array_equal(one, byzsim.aggregate("nnm+krum", ROWS, f=2, variant="byzfl"))
    np.testing.assert_array_equal(
        sent, byzsim.forge("burst+alie", ROWS, n_byz=3, supporters="all", byzantine_gradients=ROWS[:3])
    )
    assert len(compiled) == programs


def test_options_beside_a_variant_go_first():
    given = {"variant": "krum", "middle": "lower"}
    assert RunConfig(rule="aksel", rule_args=given).rule_args == {"count": "m-f", "middle": "lower", "ties": "index"}
    aksel = AGGREGATORS["aksel"].factory
    assert program(aksel(**given)) == program(aksel(count="m-f")) != program(aksel(variant="krum"))


def test_options_are_not_arguments_of_what_takes_them():
    """byzsim.forge("mine", ..., rule=...) would be two things at once."""
    taken = {
        name
        for call in (byzsim.aggregate, byzsim.forge, byzsim.robustness)
        for name in inspect.signature(call).parameters
    }
    for name, spec in {**AGGREGATORS, **PREAGGREGATORS, **ATTACKS}.items():
        assert not taken & inspect.signature(spec.factory).parameters.keys(), name


def test_bounds_see_the_options_of_a_variant():
    assert RunConfig(rule="safeguard", m=10).max_f == 4
    assert RunConfig(rule="safeguard", m=10, rule_args={"variant": "third_party"}).max_f == 4
    assert (
        RunConfig(rule="safeguard", m=11, rule_args={"variant": "third_party"}).max_f
        == 4
        < RunConfig(rule="safeguard", m=11).max_f
    )


@pytest.mark.parametrize(
    "ask",
    [
        lambda variant: byzsim.aggregate("nnm+krum", ROWS, f=2, variant=variant),
        lambda variant: byzsim.forge("alie", ROWS, n_byz=2, rule="krum", rule_args={"variant": variant}),
        lambda variant: RunConfig(rule="krum", rule_args={"variant": variant}),
        lambda variant: AGGREGATORS["krum"].factory(variant=variant),
    ],
)
@pytest.mark.parametrize(("given", "near"), [("Byz-fl", " Did you mean 'byzfl'"), (3, "")])
def test_an_unknown_variant_is_answered_with_the_nearest_and_what_each_is(ask, given, near):
    message = (
        rf"unknown variant of krum {given!r}\.{near}.*Known: blanchard2017: squared distances.*; byzfl: .*; alie: "
    )
    with pytest.raises(ValueError, match=message):
        ask(given)


def test_a_member_without_variants_says_so():
    for rule in ("mean", "nnm+mean", "bucketing+mean"):
        with pytest.raises(ValueError, match=r"^mean has no variants; got variant='byzfl'$"):
            byzsim.aggregate(rule, ROWS, variant="byzfl")
    with pytest.raises(ValueError, match=r"^lenet has no variants"):
        RunConfig(model_args={"variant": "relu"})
    with pytest.raises(ValueError, match=r"^medoid has no variants"):
        AGGREGATORS["medoid"].factory(variant="byzfl")


def test_a_member_may_have_an_option_called_variant():
    def mine(*, variant=1):
        raise NotImplementedError

    assert dict(resolved("mine", mine, (), {"variant": 2})) == {"variant": 2}


def types(hint):
    """All that a hint is made of; `Traced` alone has float in it."""
    return [hint, *itertools.chain.from_iterable(map(types, typing.get_args(hint)))]


@pytest.mark.parametrize("zoo", [*ZOOS.values(), MODELS])
def test_what_is_traced_is_declared(zoo):
    """A number is an option's default only where the annotation says `Traced`; those and no others are traced."""
    for name, spec in zoo.items():
        declared = {key for key, each in parameters(spec).items() if float in types(each.annotation)}
        for given in [{}, *(variant.options for variant in spec.variants)]:
            args = options(name, spec, given)
            numbers = {key for key, value in args.items() if isinstance(value, float)}
            assert numbers == set(varying(spec.factory, args)) <= declared, name


def test_where_nothing_is_declared_numbers_with_a_point_are_traced():
    def mine(*, a=0.5, b=None, c: int = 1, d: float | None = None):
        raise NotImplementedError

    assert set(varying(mine, {"a": 0.5, "b": 2.5, "c": 2.5, "d": 2.5})) == {"a", "b", "d"}
    assert not varying(mine, {"a": 1, "b": None, "c": 1, "d": None})


def test_a_burst_comes_and_goes():
    rounds = np.random.default_rng(1).normal(size=(9, 6, 4)).astype(np.float32)
    sent = byzsim.forge(
        "burst+zero_gradient", rounds[:, :4], byzantine_gradients=rounds[:, 4:], n_byz=2, on=2, off=3, first=1
    )
    for step, rows in enumerate(np.asarray(sent)):
        active = step >= 1 and (step - 1) % 5 < 2
        np.testing.assert_array_equal(rows, np.zeros((2, 4)) if active else rounds[step, 4:])
    assert attack_spec("burst+label_flip").traits == {"data"}
