"""What one run over four devices gives, beside the same on one device; test_worker_sharding.py starts it.

Prints JSON: for each rule and preaggregator the results of both, and the largest array in the program of one device.
"""

import functools
import json
import re
import sys

import jax

jax.config.update("jax_num_cpu_devices", 4)

import byzsim  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from byzsim import AGGREGATORS, PREAGGREGATORS, Data, RunConfig, grid, oneshot, worker_sharding  # noqa: E402
from byzsim.grid import memory, placement  # noqa: E402
from byzsim.names import rule_spec  # noqa: E402
from jax.sharding import Mesh, NamedSharding, PartitionSpec  # noqa: E402

M, D = 8, 5003  # the coordinates do not divide by four


def once(rule, rows):
    """(aggregate, weights) of the second of two rounds, as a training step calls the rule."""
    made = rule_spec(rule).factory()
    rows = worker_sharding.by_coordinate(rows)
    state, d = made.init(*rows.shape), rows.shape[1]
    for step in range(2 if jax.tree.leaves(state) else 1):
        known = {"step": jnp.int32(step), "lr": 0.1, "server_loss": oneshot.summed}
        ctx = oneshot.make_context(jax.random.key(0), 1, d, **known)
        aggregate, state, info = made.apply(rows, state, ctx)
    return aggregate, info.weight


def compared(rule, rows):
    mesh = Mesh(np.array(jax.devices()).reshape(1, 4), ("runs", worker_sharding.WORKERS))
    everywhere = PartitionSpec()
    shared = jax.shard_map(
        functools.partial(once, rule), mesh=mesh, in_specs=everywhere, out_specs=everywhere, axis_names={"runs"},
        check_vma=False,
    )  # fmt: skip
    placed = jax.device_put(rows, NamedSharding(mesh, PartitionSpec(worker_sharding.WORKERS)))
    program = jax.jit(shared).lower(placed).compile()
    alone, apart = jax.jit(functools.partial(once, rule))(rows), program(placed)
    return {
        "alone": [np.asarray(each).tolist() for each in alone],
        "shared": [np.asarray(each).tolist() for each in apart],
        "largest": largest(program.as_text()) / rows.size,
    }


def largest(program):
    """Entries of the largest array in a compiled program's text."""
    return max(np.prod([int(n) for n in shape.split(",")]) for shape in re.findall(r"\w\d*\[([\d,]+)\]", program))


def images():
    draw = np.random.default_rng(0)
    return Data(draw.integers(0, 256, (64, 28, 28), dtype=np.uint8), np.arange(64, dtype=np.uint8) % 10)


def digests(count):
    """Those of runs, one on each of so many devices, as they are compiled for `byzsim run`."""
    runs = [RunConfig(rule="brsgd", n_byz=1, m=8, batch=2, epochs=3, lr=0.5, model="softmax", seed=s) for s in range(5)]
    (group,) = grid.plan(runs, grid.Source(10, 64))
    data, devices = images(), jax.devices()[:count]
    return [c.digest for c in grid.run(group.static, group.dynamic, data, data, epochs=3, devices=devices)]


def trained(devices_per_run, rule="mean", attack="delayed_gradient"):
    """The curve of a run, by default with matrices in every part of its state, and bytes of an epoch on a device."""
    data = images()
    run_config = {"rule": rule, "attack": attack, "n_byz": 3, "momentum": "ema", "model": "softmax"}
    (group,) = grid.plan([RunConfig(**run_config, m=32, batch=1, epochs=2, lr=0.1)], grid.Source(10, 64))
    devices = jax.devices()[:devices_per_run]
    (history,) = grid.run(
        group.static, group.dynamic, data, data, epochs=2, devices=devices, devices_per_run=devices_per_run
    )
    placed, mesh = grid.replicate(data, devices, devices_per_run), placement.mesh_of(devices, devices_per_run)
    return {
        "curve": [history.accuracy.tolist(), history.loss.tolist(), *(history[i].tolist() for i in range(1, 9))],
        "bytes": memory.need(group.static, group.dynamic[0], placed, placed, mesh, 1),
    }


if __name__ == "__main__":
    jax.config.update("jax_disable_most_optimizations", False)
    optimized = [digests(count) for count in (1, 2, 3, 4)]
    jax.config.update("jax_disable_most_optimizations", True)  # compiled, run once, forgotten
    draw = np.random.default_rng(0)
    matrix = (draw.normal(size=(M, D)) * np.linspace(0.5, 2, M)[:, None] + draw.normal(size=D)).astype(np.float32)
    by_worker = NamedSharding(Mesh(np.array(jax.devices()), ("w",)), PartitionSpec("w"))
    json.dump(
        {
            "rules": {r: compared(r, matrix) for r in [*AGGREGATORS, *(f"{p}+mean" for p in PREAGGREGATORS)]},
            "trained": {k: trained(k) for k in (1, 4)},
            "in_a_condition": {k: trained(k, "trimmed_mean", "alie") for k in (1, 4)},
            "digests": optimized,
            "aggregate": [
                np.asarray(byzsim.aggregate("krum", rows, f=1)).tolist()
                for rows in (matrix, jax.device_put(matrix, by_worker))
            ],
        },
        sys.stdout,
    )
