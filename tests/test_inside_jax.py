"""Each rule gives inside a user's own JAX program what it gives outside; on a mesh whose axis is called "workers".

In float64 all rules are compared with their loops in test_float64.py.
"""

import functools
from types import SimpleNamespace

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim.names import rule_spec
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

M, D, F = 4, 2, 1
DRAW = np.random.default_rng(0)
ROWS = (DRAW.normal(size=(2, M, D)) * np.linspace(0.5, 2, M)[:, None] + DRAW.normal(size=D)).astype(np.float32)
SERVER, ONWARD = (DRAW.normal(size=D).astype(np.float32) for _ in range(2))
RULES = [*byzsim.AGGREGATORS, *(f"{name}+mean" for name in byzsim.PREAGGREGATORS)]
MODES = ["jit", "vmap", "scan", "grad", "shard_map", "axis", "sharded"]


def aggregate(rule, rows):
    return byzsim.aggregate(rule, rows, f=F, lr=0.5, server_gradient=SERVER, params=jnp.zeros(D))


def slope(rule, rows):
    return jax.grad(lambda rows: jnp.vdot(aggregate(rule, rows), ONWARD))(rows)


def steps(rule, rounds):
    """One step after another by `Aggregator.apply`, the state carried by a scan of the user's."""
    made = rule_spec(rule).factory()

    def step(state, now):
        t, rows = now
        context = byzsim.Context(
            jax.random.fold_in(jax.random.key(0), t), t, F, 0.5, jnp.zeros(D),
            server_loss=lambda n: lambda params: jnp.vdot(SERVER, params),
        )  # fmt: skip
        out, state, _ = made.apply(rows, state, context)
        return state, out

    return jax.lax.scan(step, byzsim.init_state(made, rounds[0]), (jnp.arange(len(rounds)), rounds))[1]


@functools.cache
def mesh():
    return Mesh(np.array(jax.devices()[:2]), ("workers",))


def inside(rule, rounds, placed):
    """{mode: results} in one program, which is compiled once."""

    def gathered(part):  # each device has rows of its own, and all of them after the gathering
        return steps(rule, jax.lax.all_gather(part, "workers", axis=1, tiled=True))[None]

    def own(part):  # each device has a matrix of its own
        return aggregate(rule, part[0])[None]

    spread = functools.partial(jax.shard_map, mesh=mesh(), out_specs=P("workers"))
    return {
        "jit": aggregate(rule, rounds[0])[None],
        "vmap": jax.vmap(functools.partial(aggregate, rule))(rounds),
        "scan": steps(rule, rounds),
        "grad": slope(rule, rounds[0])[None],
        "shard_map": spread(gathered, in_specs=P(None, "workers"))(rounds),
        "axis": spread(own, in_specs=P("workers"))(rounds),
        "sharded": aggregate(rule, placed)[None],
    }


@functools.cache
def found(rule):
    """(what there is outside, what there is inside)."""
    each = np.stack([aggregate(rule, rows) for rows in ROWS])
    known = rule_spec(rule).traits & {"stateful", "stochastic"}
    in_order = aggregate(rule, ROWS) if known else each
    gradient = jax.jit(functools.partial(slope, rule))(ROWS[0])[None]
    outside = {"jit": each[:1], "vmap": each, "scan": in_order, "grad": gradient}
    outside |= {"shard_map": np.stack([in_order] * 2), "axis": each, "sharded": each[:1]}
    with jax.set_mesh(mesh()):
        placed = jax.device_put(ROWS[0], NamedSharding(mesh(), P("workers")))
        results = jax.jit(functools.partial(inside, rule))(ROWS, placed)
    return SimpleNamespace(outside=outside, inside=jax.tree.map(np.asarray, results))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*guarantee covers f <= 0:UserWarning")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_gives_inside_what_it_gives_outside(rule, mode):
    np.testing.assert_allclose(found(rule).inside[mode], found(rule).outside[mode], rtol=2e-5, atol=1e-6)


def settings(zoo):
    return [(name, variant.name) for name, spec in zoo.items() for variant in spec.variants[1:]] + [
        (name, None) for name in zoo
    ]


def in_shard_map(call, *arrays):
    """Traced only, with JAX's checks of what varies: each device has arrays of its own."""

    def own(*parts):
        return call(*(part[0] for part in parts))[None]

    each = jax.shard_map(own, mesh=mesh(), in_specs=P("workers"), out_specs=P("workers"))
    jax.eval_shape(each, *(np.stack([array] * 2) for array in arrays))


@pytest.mark.filterwarnings("ignore:.*guarantee covers f <= 0:UserWarning")
@pytest.mark.parametrize(("rule", "variant"), settings(byzsim.AGGREGATORS))
def test_every_variant_of_a_rule_passes_the_checks_of_shard_map(rule, variant):
    options = {} if variant is None else {"variant": variant}
    in_shard_map(lambda rows: byzsim.aggregate(rule, rows, f=F, server_gradient=SERVER, **options), ROWS[0])


@pytest.mark.parametrize(
    ("attack", "variant"), [each for each in settings(byzsim.ATTACKS) if "data" not in byzsim.ATTACKS[each[0]].traits]
)
def test_every_variant_of_an_attack_does_too(attack, variant):
    options = {} if variant is None else {"variant": variant}
    knows = {"loss_after": jnp.sum, "full_gradient": SERVER, "params": SERVER, "rule": "trimmed_mean"}

    def sent(own, honest):
        return byzsim.forge(attack, honest, n_byz=1, byzantine_gradients=own, **knows, **options)

    in_shard_map(sent, ROWS[0][:1], ROWS[0][1:])


@pytest.mark.parametrize("spec", [P("workers"), P(None, "workers")], ids=["rows", "coordinates"])
def test_a_mesh_with_explicit_axes(spec):
    """As `jax.make_mesh` makes it, where JAX asks each operation how its result is sharded."""
    placed = jax.device_put(ROWS[0], NamedSharding(jax.make_mesh((2,), ("workers",), devices=jax.devices()[:2]), spec))
    for call in (lambda rows: aggregate("median", rows), jax.jit(lambda rows: aggregate("median", rows))):
        np.testing.assert_array_equal(call(placed), aggregate("median", ROWS[0]))
