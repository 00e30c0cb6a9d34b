"""What JAX_ENABLE_X64=1 changes, and what it does not; test_float64.py starts it in its own process.

Prints JSON: how far each member is from its float64 loop on float64 rows, relative to the largest entry; members that
give another dtype than that of their rows; what a training run and a recorded run have come to.
"""

import inspect
import json
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_disable_most_optimizations", True)

import byzsim  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from byzsim import check_shapes  # noqa: E402
from byzsim.experiments import cli, records  # noqa: E402
from byzsim.names import attack_spec, rule_spec  # noqa: E402
from zoo import of, reference  # noqa: E402

M, D, F, ROUNDS = 8, 6, 1, 2
DRAW = np.random.default_rng(0)
ROWS = DRAW.normal(size=(ROUNDS, M, D))
CENTRE = np.linspace(1, 2, D)


def quadratic(at):
    return ((at - CENTRE) ** 2).sum() / 4


def contexts(n, **more):
    """What a loop may read in each round, as `byzsim.aggregate` and `byzsim.attack` fill a `Context`."""
    key = jax.random.key(0)
    return [SimpleNamespace(key=jax.random.fold_in(key, t), step=t, lr=0.125, **more) for t in range(n)]


def by_loop(kind, name, given, known):
    """The reference's answer to each round."""
    loop = getattr(reference(kind, name), name)
    reads = "ctx" in inspect.signature(loop).parameters
    if "stateful" in of(kind)[name].traits:
        return np.array(loop(list(ROWS), given, **({"ctx": known} if reads else {})))
    return np.array(
        [loop(rows, given, **({"ctx": ctx} if reads else {})) for rows, ctx in zip(ROWS, known, strict=True)]
    )


def rules():
    params = np.full((ROUNDS, D), 0.25)
    read = {"params": params[0], "server_loss": quadratic, "server_gradient": lambda p: (p - CENTRE) / 2}
    for name in byzsim.AGGREGATORS:
        wanted = by_loop("aggregators", name, F, contexts(ROUNDS, previous=np.zeros(D), **read))
        found = byzsim.aggregate(name, ROWS, f=F, lr=0.125, params=params, server_loss=quadratic)
        yield name, found, wanted
    for name in byzsim.PREAGGREGATORS:
        wanted = by_loop("preaggregators", name, F, contexts(ROUNDS, **read)).mean(axis=1)
        yield name, byzsim.aggregate(f"{name}+mean", ROWS, f=F), wanted


def attacks():
    byz = np.arange(M) < 2
    read = {"aggregate": lambda rows: np.mean(rows, axis=0), "loss_after": quadratic, "previous": CENTRE, "f": 2}
    read |= {"full_gradient": CENTRE, "params": CENTRE / 2}
    for name, spec in byzsim.ATTACKS.items():
        if "data" in spec.traits:
            continue
        several = "stateful" in spec.traits
        wanted = by_loop("attacks", name, byz, contexts(ROUNDS, **read))
        honest, own = ROWS[:, 2:], ROWS[:, :2]
        honest, own, wanted = (each if several else each[0] for each in (honest, own, wanted))
        given = {"byzantine_gradients": own, "previous": CENTRE, "loss_after": quadratic, "full_gradient": CENTRE}
        given["params"] = CENTRE / 2
        found = byzsim.forge(name, honest, n_byz=2, **given)
        yield name, found, wanted


def apart(found, wanted):
    """Relative to the largest entry; what is not finite has to be the same."""
    assert found.dtype == jnp.float64
    found, finite = np.asarray(found), np.isfinite(wanted)
    np.testing.assert_array_equal(found[~finite], wanted[~finite])
    size = np.abs(wanted[finite]).max(initial=0.0)
    return float(np.abs(found - wanted)[finite].max(initial=0.0) / (size or 1.0))


def changed_dtypes():
    """Members, with each of the options that tests go through, that turn float32 rows into something else."""
    for kind, tried in (("aggregators", a_rule), ("preaggregators", a_pre_rule), ("attacks", an_attack)):
        for name in of(kind):
            for options in reference(kind, name).OPTIONS:
                try:
                    tried(name, {k: jnp.float32(v) if isinstance(v, float) else v for k, v in options.items()})
                except Exception as error:
                    yield f"{name} {options}: {error}"


def a_rule(name, options):
    check_shapes.rule(rule_spec(name).factory(**options), M, D)


def a_pre_rule(name, options):
    check_shapes.rule(rule_spec(f"{name}+krum").factory(**options), M, D)


def an_attack(name, options):
    check_shapes.attack(attack_spec(name).factory(**options), M, D)


def trained():
    images = DRAW.integers(0, 256, (80, 4, 4), dtype=np.uint8)
    labels = np.arange(80) % 4
    run_config = {"rule": "safeguard", "attack": "alie", "m": 5, "n_byz": 1, "model": "softmax", "batch": 4}
    return byzsim.simulate(
        (images, labels), (images, labels), **run_config, momentum="ema", optimizer="adam", partition="dirichlet"
    )


def recorded(folder):
    only = ["--only", "rule=median,attack=gaussian,alpha=0.2", "--steps", "2", "--epochs", "1", "--checkpoint", "0"]
    assert cli.main(["run", "smoke", "--quick", *only, "--results", str(folder)]) == 0
    return records.read(next(folder.rglob("runs.jsonl")), print)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {
        "apart": {name: apart(*pair) for name, *pair in (*rules(), *attacks())},
        "changed": list(changed_dtypes()),
        "accuracy": float(trained().accuracy[-1]),
        "recorded": [each["jax"]["enable_x64"] for each in recorded(Path(sys.argv[1]))],
    }
    print(json.dumps(found))
