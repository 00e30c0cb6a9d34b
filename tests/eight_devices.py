"""What `byzsim.robust_pmean` gives on eight CPU devices, beside `byzsim.aggregate` on one; test_pmean.py starts it.

Prints JSON.
"""

import json
import re

import jax

jax.config.update("jax_num_cpu_devices", 8)

import byzsim  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from byzsim import AGGREGATORS, PREAGGREGATORS  # noqa: E402
from jax.sharding import Mesh, PartitionSpec  # noqa: E402

M, D, F = 8, 53, 2  # the coordinates do not divide by eight
DATA = PartitionSpec("data")
MESH = Mesh(np.array(jax.devices()), "data")
REFUSED = {"server", "whole_rows"}
RULES = [name for name, spec in AGGREGATORS.items() if not spec.traits & REFUSED and name != "draco"]
RULES += [f"{name}+krum" for name in PREAGGREGATORS]


def matrix(seed=0):
    draw = np.random.default_rng(seed)
    rows = draw.normal(1, 1, (M, D)).astype(np.float32)
    rows[0] += 5
    rows[1] *= 3
    return rows


def as_tree(rows):
    """A pytree with the replicas as first axis, whose vector is the row."""
    rows = np.asarray(rows)
    return {"b": rows[:, :3], "w": rows[:, 3:].reshape(len(rows), 5, 10)}


def flat(tree):
    return np.concatenate([np.asarray(leaf, np.float32).ravel() for leaf in jax.tree.leaves(tree)])


def reduced(rule, rows, *, mesh=MESH, inputs=DATA, pmean=byzsim.robust_pmean, **options):
    """`Reduced` without the state, by a compiled program with JAX's default checks."""

    def local(tree):
        own = jax.tree.map(lambda leaf: leaf[0], tree)
        return pmean(own, "data", rule, details=True, **options)._replace(state=())

    return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=inputs, out_specs=PartitionSpec()))(rows)


def compared(rule):
    rows, f = matrix(), {"mean": 0, "bulyan": 1}.get(rule, F)
    found = reduced(rule, as_tree(rows), f=f, key=jax.random.fold_in(jax.random.key(0), 0))  # as `aggregate` draws
    return {
        "ours": flat(found.aggregate).tolist(),
        "whole": np.asarray(byzsim.aggregate(rule, rows, f=f)).tolist(),
        "weight": np.asarray(found.weight).tolist(),
        "distance": np.asarray(found.distance).tolist(),
    }


def remembered(rule):
    """Three steps of a rule with a memory, which the caller carries, beside three rounds."""
    rounds = np.stack([matrix(seed) for seed in range(3)])

    def first(rows):
        found = byzsim.robust_pmean(rows[0], "data", rule, f=F, details=True)
        return found.aggregate, found.state

    def later(rows, state, step):
        found = byzsim.robust_pmean(rows[0], "data", rule, f=F, state=state, step=step, details=True)
        return found.aggregate, found.state

    out = PartitionSpec(), DATA
    begin = jax.jit(jax.shard_map(first, mesh=MESH, in_specs=DATA, out_specs=out))
    go_on = jax.jit(jax.shard_map(later, mesh=MESH, in_specs=(DATA, DATA, PartitionSpec()), out_specs=out))
    aggregate, state = begin(rounds[0])
    ours = [aggregate]
    for step in (1, 2):
        aggregate, state = go_on(rounds[step], state, step)
        ours.append(aggregate)
    return {"ours": np.stack(ours).tolist(), "whole": np.asarray(byzsim.aggregate(rule, rounds, f=F)).tolist()}


def model_parallel():
    """Four replicas of two devices each, a device holding half of each array: whom they trust."""
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))
    rows = np.random.default_rng(3).normal(size=(4, 8)).astype(np.float32)
    rows[:, :4] *= [[1], [1], [1], [9]]  # of the last replica one half is far away, the other is the nearest of all
    rows[3, 4:] = rows[:3, 4:].mean(0)
    out = {"whole": np.asarray(byzsim.aggregate("medoid", rows)).tolist()}
    for name, options in {"shared": {"shared_over": "model"}, "apart": {}}.items():

        def local(own, options=options):
            found = byzsim.robust_pmean(own[0], "data", "medoid", details=True, **options)
            return found.aggregate, found.weight[None]

        specs = PartitionSpec("data", "model")
        mapped = jax.shard_map(
            local, mesh=mesh, in_specs=specs, out_specs=(PartitionSpec("model"), PartitionSpec("model"))
        )
        aggregate, weight = jax.jit(mapped)(rows)
        out[name] = {"ours": np.asarray(aggregate).tolist(), "weight": np.asarray(weight).tolist()}
    return out


def largest_arrays():
    """Entries of the largest array in the compiled program of one device, over d."""
    d, found = 4096, {}
    for rule in ("median", "krum", "trimmed_mean", "geometric_median", "nnm+krum"):

        def local(row, rule=rule):
            return byzsim.robust_pmean(row[0], "data", rule, f=F)

        mapped = jax.jit(jax.shard_map(local, mesh=MESH, in_specs=DATA, out_specs=PartitionSpec()))
        text = mapped.lower(jnp.zeros((M, d))).compile().as_text()
        shapes = re.findall(r"\w\d*\[([\d,]+)\]", text.partition("ENTRY")[0])
        found[rule] = max(np.prod([int(n) for n in shape.split(",")]) for shape in shapes) / d
    return found


def plain():
    """With the mean and f = 0, beside `jax.lax.pmean`."""
    rows = as_tree(matrix())
    both = jax.shard_map(
        lambda tree: (byzsim.robust_pmean(tree, "data", "mean", f=0), jax.lax.pmean(tree, "data")),
        mesh=MESH,
        in_specs=DATA,
        out_specs=PartitionSpec(),
    )
    return [flat(tree).tolist() for tree in jax.jit(both)(rows)]


def who_is_broken():
    """One NaN in replica 3, and numbers that travel as bfloat16."""
    rows = matrix()
    rows[3, 7] = np.nan
    found = reduced("median", as_tree(rows), wire=jnp.bfloat16)
    leaves = reduced("krum", as_tree(matrix()), f=F, by_leaf=True)
    parts = [byzsim.aggregate("krum", matrix()[:, part], f=F) for part in (slice(3), slice(3, None))]
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), as_tree(matrix()))
    kept = reduced("median", half, f=F).aggregate
    return {
        "non_finite": np.asarray(found.non_finite).tolist(),
        "distance": np.asarray(jnp.isfinite(found.distance)).tolist(),
        "wire": [flat(found.aggregate).tolist(), np.asarray(byzsim.aggregate("median", rows, f=F)).tolist()],
        "by_leaf": [flat(leaves.aggregate).tolist(), np.concatenate(parts).tolist()],
        "dtypes": sorted({str(leaf.dtype) for leaf in jax.tree.leaves(kept)}),
    }


if __name__ == "__main__":
    print(
        json.dumps(
            {
                "rules": {rule: compared(rule) for rule in RULES},
                "remembered": {rule: remembered(rule) for rule in ("centered_clipping", "safeguard")},
                "model_parallel": model_parallel(),
                "largest": largest_arrays(),
                "plain": plain(),
                "broken": who_is_broken(),
            }
        )
    )
