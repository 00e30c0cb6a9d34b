"""A transformer on 8 replicas, one of which computes wrong numbers from step 100 on: the mean, and robust rules.

The replicas are 8 CPU devices, each with its own batch; the text is the language reference that Python ships. Takes
about two minutes on two cores, prints a table, and draws silent_corruption.png and .svg.

python examples/silent_corruption.py
python examples/silent_corruption.py --steps 8 --start 4     # a first look
"""

import argparse
import time
from pathlib import Path
from pydoc_data import topics

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)  # before JAX starts

import byzsim  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import pandas as pd  # noqa: E402
from byzsim.experiments.files import markdown_table  # noqa: E402
from byzsim.experiments.report.figures import STYLES, save  # noqa: E402
from byzsim.tasks.char_lm import Transformer  # noqa: E402
from jax.flatten_util import ravel_pytree  # noqa: E402
from jax.sharding import Mesh, PartitionSpec  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

REPLICAS, BROKEN = 8, 5
BATCH, LENGTH = 4, 32  # pieces of text of each replica, and their characters
FAR = 3.0  # a replica is suspected if its distance is more than this many times the median distance
TEXT = np.frombuffer("\n".join(topics.topics.values()).encode("ascii", "replace"), np.uint8)
MODEL = Transformer(vocabulary=128, width=32, heads=2, depth=1)

# ---------------------------------------------------------------------------------------------------------
# What goes wrong on the broken replica
# ---------------------------------------------------------------------------------------------------------


def flipped_bits(gradient, key):
    """One random bit of the 32 is flipped in each of four numbers: sign, exponent or mantissa."""
    places, bits = jax.random.randint(key, (2, 4), 0, jnp.array([[gradient.size], [32]]))
    words = jax.lax.bitcast_convert_type(gradient, jnp.uint32)
    words = words.at[places].set(words[places] ^ (jnp.uint32(1) << bits.astype(jnp.uint32)))
    return jax.lax.bitcast_convert_type(words, jnp.float32)


def wrong_scale(gradient, key):
    """All numbers are multiplied by -16."""
    return -16 * gradient


def now_and_then_nan(gradient, key):
    """One number is NaN, in one of ten steps."""
    return gradient.at[0].set(jnp.where(jax.random.bernoulli(key, 0.1), jnp.nan, gradient[0]))


FAULTS = {"flipped bits": flipped_bits, "times -16": wrong_scale, "a NaN in 1 of 10 steps": now_and_then_nan}

# ---------------------------------------------------------------------------------------------------------
# What is done about it: a reduction of the gradients, and an optimizer
# ---------------------------------------------------------------------------------------------------------


def mean(gradient):
    """`jax.lax.pmean`, which says nothing about the replicas."""
    return jax.lax.pmean(gradient, "data"), jnp.zeros(REPLICAS, bool)


def robust(rule):
    """`byzsim.robust_pmean`, and which replicas it finds suspicious."""

    def reduce(gradient):
        found = byzsim.robust_pmean(gradient, "data", rule, f=1, details=True)
        far = found.distance > FAR * jnp.median(found.distance)
        return found.aggregate, far | (found.non_finite > 0)

    return reduce


ADAM = optax.adam(3e-3)
CLIPPED = optax.chain(optax.clip_by_global_norm(1.0), ADAM)
MEANS = {
    "pmean": (mean, ADAM),
    "pmean, clipped": (mean, CLIPPED),
    "pmean, clipped, NaN skipped": (mean, optax.apply_if_finite(CLIPPED, max_consecutive_errors=10**6)),
}
RULES = {rule: (robust(rule), ADAM) for rule in ("median", "trimmed_mean", "geometric_median", "multi_krum")}

# ---------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------


def loss(params, text):
    logits = MODEL.apply(params, text[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, text[:, 1:]).mean()


def training(reduce, optimizer, steps, start):
    """(parameters, text, index of the fault) -> losses (steps,), suspected replicas (steps, m); on all devices."""

    def local(params, text, fault):
        replica = jax.lax.axis_index("data")

        def step(carry, t):
            params, state = carry
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(1), t), replica)
            begin = jax.random.randint(key, (BATCH, 1), 0, text.size - LENGTH)
            batch = text[begin + jnp.arange(LENGTH + 1)].astype(jnp.int32)
            own = jax.lax.pcast(params, "data", to="varying")  # so that JAX does not add up gradients by itself
            value, gradient = jax.value_and_grad(loss)(own, batch)

            vector, as_tree = ravel_pytree(gradient)
            wrong = jax.lax.switch(fault, [*FAULTS.values(), lambda gradient, key: gradient], vector, key)
            gradient = as_tree(jnp.where((replica == BROKEN) & (t >= start), wrong, vector))

            gradient, suspected = reduce(gradient)  # where jax.lax.pmean(gradient, "data") stood
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), (jax.lax.pmean(value, "data"), suspected)

        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))[1]

    mesh, every = Mesh(np.array(jax.devices()), "data"), PartitionSpec()
    return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=every, out_specs=every))


def run(methods, faults, steps, start):
    """One row for each fault and method: `losses` (steps,), `suspected` (steps, m) and `ms` for a step."""
    params = MODEL.init(jax.random.key(0), jnp.zeros((1, LENGTH), jnp.int32))
    rows = []
    for name, (reduce, optimizer) in methods.items():
        train = training(reduce, optimizer, steps, start).lower(params, TEXT, 0).compile()
        for fault in (*faults, "none"):
            begun = time.perf_counter()
            losses, suspected = jax.device_get(train(params, TEXT, [*FAULTS, "none"].index(fault)))
            ms = 1000 * (time.perf_counter() - begun) / steps
            rows.append({"fault": fault, "method": name, "losses": losses, "suspected": suspected, "ms": ms})
            print(f"{name}, {fault}: loss {losses[-1]:.2f}, {ms:.1f} ms a step", flush=True)
    return pd.DataFrame(rows)


# ---------------------------------------------------------------------------------------------------------
# What came out
# ---------------------------------------------------------------------------------------------------------

LINES = [*STYLES, {"color": "#56B4E9", "linestyle": "-", "marker": "X"}]  # one for each method


def summary(found, start):
    """A line for each method: the loss at the end under each fault, what was found, and the cost of a step."""
    lines = []
    for method, rows in found.groupby("method", sort=False):
        finds = method in RULES
        right = [row.suspected[start:, BROKEN] for row in rows.itertuples() if row.fault != "none"]
        others = np.stack([np.delete(row.suspected, BROKEN, axis=1) for row in rows.itertuples()])
        first = [f"{start + steps.argmax()}" if steps.any() else "never" for steps in right]
        lines.append(
            {"method": method}
            | {f"loss: {row.fault}": f"{row.losses[-20:].mean():.2f}" for row in rows.itertuples()}
            | {f"replica {BROKEN} first found in step": ", ".join(first) if finds else "-"}
            | {"false alarms": f"{others.sum()} of {others.size}" if finds else "-"}
            | {"ms a step": f"{rows['ms'].median():.1f}"}
        )
    return pd.DataFrame(lines)


def picture(found, start):
    """A column for each fault: losses above, and below which replicas the median suspected, and when."""
    faults = [fault for fault in FAULTS if fault in {*found["fault"]}]
    figure = Figure(figsize=(3.1 * len(faults) + 2.2, 4.6), layout="constrained")
    grid = figure.subplots(2, len(faults), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1))
    clean = found.query("fault == 'none' and method == 'pmean'")["losses"].iloc[0]
    for fault, (above, below) in zip(faults, grid.T, strict=True):
        above.plot(*smooth(clean), color="0.75", linewidth=5, label="pmean, no fault")
        ended = []
        for i, row in enumerate(found[found["fault"] == fault].itertuples()):
            x, y = smooth(row.losses)
            style = {**LINES[i], "markersize": 4, "markevery": (i, 8), "linewidth": 1.2}
            (line,) = above.plot(x, y, label=row.method, **style)
            last = np.isfinite(y).sum() - 1
            if last < len(y) - 1:
                ended.append((row.method, (x[last], y[last])))
                above.plot(x[last], y[last], "x", color=line.get_color(), markersize=12, markeredgewidth=2.5, zorder=5)
            if row.method == "median":
                steps, replicas = np.nonzero(row.suspected)
                below.scatter(steps, replicas, s=12, marker="|", color="#D55E00")
        if ended:
            text = "NaN from here on:\n" + "\n".join(method for method, _ in ended)
            arrow = {"arrowstyle": "->"}
            above.annotate(text, ended[0][1], (20, 60), textcoords="offset points", arrowprops=arrow)
        above.set(title=fault)
        below.set(xlabel="step", yticks=range(REPLICAS), ylim=(REPLICAS - 0.5, -0.5))
        below.tick_params(axis="y", labelsize=7)
        for axes in (above, below):
            axes.axvline(start, color="0.5", linewidth=0.8, linestyle=":")
    grid[0, 0].set(ylabel="loss of the next batch", ylim=(0.95 * min(clean), 1.02 * clean[0]))
    grid[1, 0].set(ylabel="suspected\n(median)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.suptitle(f"One of {REPLICAS} replicas is broken from step {start} on: replica {BROKEN}")
    return figure


def smooth(losses, width=5):
    """(middle steps, means over `width` steps)"""
    n = len(losses) // width
    return np.arange(n) * width + width / 2, losses[: n * width].reshape(n, width).mean(axis=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--start", type=int, default=100, help="step from which on the replica is broken")
    parser.add_argument(
        "--output", type=Path, default=Path("silent_corruption"), help="the picture, without its ending"
    )
    given = parser.parse_args()
    found = run(MEANS | RULES, FAULTS, given.steps, given.start)
    table = summary(found, given.start)
    print(markdown_table(tuple(table.columns), [tuple(row) for row in table.to_numpy()]))
    save(picture(found, given.start), given.output)
