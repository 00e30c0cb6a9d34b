"""The files that `byzsim new` writes; NAME stands for the name. Each is a member and a table that tries it."""

TABLE = """

# A table that tries it: `byzsim run NAME.py`. Every field of byzsim.RunConfig can be in `base` or be an axis.
SPEC = Table(
    name="NAME_table",
    title="NAME on a small problem",
    source="this file",
    base={BASE},
    axes=(
        AXES,
    ),
    quick={"epochs": 1},  # what --quick changes
)
"""
DIGITS = '"data": "digits", "model": "softmax", "m": 10, "batch": 16, "epochs": 5, "lr": 0.5'


def _with_table(text: str, base: str, axes: str) -> str:
    return text + TABLE.replace("BASE", base).replace("AXES", axes.replace("), axis", "),\n        axis"))


RULE = '''"""An aggregation rule.

    byzsim run NAME.py                                            train with it, beside rules of byzsim
    byzsim run smoke --plugins NAME.py --rules NAME nnm+NAME      in another table
    python -c "import NAME, byzsim; byzsim.testing.check_rule(NAME.SPECS['NAME'])"      what a rule promises
"""

import jax.numpy as jnp
from byzsim import Spec, types
from byzsim.experiments.plan import Table, axis


def NAME(*, power: float = 1.0):  # options have defaults: `--options NAME.power=2`
    """The mean of all rows, each weighted by its distance from the coordinate-wise median to the power -`power`."""

    def rule(grads, ctx):  # (m, d) gradients, a byzsim.Context -> aggregate (d,), weight of each worker (m,)
        # ctx.f is the declared number of Byzantine workers; it is traced, so no Python `if` or slice by it.
        distance = jnp.linalg.norm(grads - jnp.median(grads, axis=0)[None], axis=1)
        weight = jnp.nan_to_num(1 / jnp.maximum(distance, 1e-12) ** power)  # a row of NaN or infinities gets none
        weight = weight / weight.sum()
        rows = jnp.where((weight > 0)[:, None], grads, 0.0)
        return (weight[:, None] * rows).sum(axis=0), weight

    return types.stateless(rule)  # with a memory: byzsim.Aggregator(init, apply)


# max_f: for how many Byzantine workers of m there is a guarantee. traits: what `check_rule` is to check, such as
# frozenset({"permutation", "translation"}); byzsim.types.RULE_TRAITS has all of them.
SPECS = {"NAME": Spec(NAME, source="this file", max_f=lambda m: 0, traits=frozenset({"permutation"}))}
'''
ATTACK = '''"""An attack.

    byzsim run NAME.py                                            train against it
    byzsim run smoke --plugins NAME.py --attacks NAME             in another table
    python -c "import NAME, byzsim; byzsim.testing.check_attack(NAME.SPECS['NAME'])"      what an attack promises
"""

import jax.numpy as jnp
from byzsim import Spec, types
from byzsim.experiments.plan import Table, axis


def NAME(*, strength: float = 2.0):  # options have defaults: `--options NAME.strength=5`
    """Every Byzantine worker sends minus `strength` times the mean of the honest rows."""

    def grads(updates, byz, state, ctx):  # updates (m, d): honest work of all workers; byz (m,): who is Byzantine
        honest = jnp.where(byz[:, None], 0.0, updates).sum(axis=0) / jnp.maximum((~byz).sum(), 1)
        forged = jnp.broadcast_to(-strength * honest, updates.shape)  # rows for all; byzsim keeps the honest ones
        return forged, state  # ctx.aggregate(rows) would be the server's aggregate of any rows

    # A memory: make_attack(grads=grads, init=lambda m, d: arrays). Labels: make_attack(labels=...).
    return types.make_attack(grads=grads, reads_own_gradients=False)


SPECS = {"NAME": Spec(NAME, source="this file", traits=frozenset({"collusive"}))}
'''
TASK = '''"""A task: what is trained, and what is measured.

    byzsim run NAME.py
    python -c "import NAME, byzsim; byzsim.testing.check_task(NAME.SPECS['NAME'])"      what a task promises
"""

import jax
import jax.numpy as jnp
from byzsim import Data, Generated, Spec, make_task
from byzsim.experiments.plan import Table, axis


def NAME(*, d: int = 10, noise: float = 0.1):  # options have defaults: `--options NAME.d=100`
    """Linear regression with the absolute error, on 50 generated examples a worker."""

    def generate(key, m):  # the data of m workers; leave `generate` out for a task that trains on a data set
        truth = jnp.ones(d) / jnp.sqrt(d)
        x = jax.random.normal(key, (50 * m + 200, d))
        y = x @ truth + noise * jax.random.laplace(jax.random.fold_in(key, 1), (len(x),))
        return Generated(Data(x[200:], y[200:]), Data(x[:200], y[:200]), facts=truth)

    return make_task(
        init=lambda key, example: jnp.zeros(d),  # parameters: any pytree of floating-point arrays
        loss=lambda w, batch: jnp.abs(batch.inputs @ w - batch.labels),  # one number for each example, (b,)
        measure=lambda w, truth: {"distance": jnp.linalg.norm(w - truth)},  # of the parameters
        generate=generate,
    )


SPECS = {"NAME": Spec(NAME, source="this file")}
'''
MODEL = '''"""A model.

    byzsim run NAME.py
    byzsim run smoke --plugins NAME.py --model NAME               in another table
"""

import flax.linen as nn
import jax.numpy as jnp
from byzsim import Spec
from byzsim.experiments.plan import Table, axis


class Network(nn.Module):
    """Any Flax module without BatchNorm. Only the collection "params" is trained."""

    n_classes: int
    hidden: int

    @nn.compact
    def __call__(self, images):  # an argument `train` is True in training, when there is a key for dropout
        x = images.reshape(len(images), -1).astype(jnp.float32) / 255  # images are uint8, (n, h, w) or (n, h, w, c)
        x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(self.n_classes)(x)


def NAME(*, n_classes, hidden: int = 32):  # options have defaults, but for n_classes: `--options NAME.hidden=64`
    """One hidden layer."""
    return Network(n_classes, hidden)  # or a function nnx.Rngs -> NNX module, or an object with init and apply


SPECS = {"NAME": Spec(NAME, source="this file")}
'''
DATA = '''"""A data set.

    byzsim run NAME.py
    byzsim run smoke --plugins NAME.py --data NAME                in another table
"""

import numpy as np
from byzsim import Spec
from byzsim.experiments.plan import Table, axis


def NAME():
    """Points of two classes in the plane."""
    # Yours may be files: held = np.load("mine.npz"); x, y = held["x"], held["y"]
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=600)  # whole numbers are classes, floating-point numbers targets of a regression
    x = rng.normal(size=(600, 2)) + 2 * y[:, None]  # any shape and any numbers; images are uint8, channels last
    return (x[:400], y[:400]), (x[400:], y[400:])  # train, test


SPECS = {"NAME": Spec(NAME, source="this file")}
'''
PARTITION = '''"""A partition: which worker has which training examples.

    byzsim run NAME.py
    python -c "import NAME, byzsim; byzsim.testing.check_partition(NAME.SPECS['NAME'])"      what a partition promises
"""

import jax
import jax.numpy as jnp
from byzsim import Partition, Spec
from byzsim.experiments.plan import Table, axis


def NAME(*, percent: int = 50):  # options have defaults: `--options NAME.percent=90`; floats would be traced
    """So many percent of every shard at random, the rest in the order of the classes."""

    def deal(key, pool, m):  # pool.n examples, pool.labels (n,) -> indices (m, n // m); -1 fills up shorter rows
        mixed = jax.random.permutation(key, pool.n)
        first = percent * (pool.n // m) // 100
        alike, rest = mixed[: m * first], mixed[m * first :]
        rest = rest[jnp.argsort(pool.labels[rest], stable=True)][: m * (pool.n // m - first)]
        return jnp.concatenate([alike.reshape(m, -1), rest.reshape(m, -1)], axis=1)

    return Partition(deal)  # equal=False if rows are filled up; needs_classes=False if labels are not read


SPECS = {"NAME": Spec(NAME, source="this file")}
'''
ATTACKED = 'axis("rule", ["mean", "median", "krum"]), axis("attack", ["sign_flip", "alie"]), axis("alpha", [0.2])'
OWN_TABLE = '''"""A table.

    byzsim run NAME.py                                            carry it out
    byzsim run NAME.py --quick                                    every step of it, once
    byzsim run NAME.py --seeds 0 1 2 --lr 0.1 0.5                 several values of a field make an axis
"""

from byzsim.experiments.plan import Table, axis

# Rules, attacks, models, data sets and so on of your own: SPECS = {"my_rule": Spec(my_rule, source="me")} here, or
# `import my_rule` for a file beside this one. `byzsim new rule my_rule` writes one.
'''
TEMPLATES = {
    "table": OWN_TABLE
    + TABLE.replace("NAME_table", "NAME")
    .replace("BASE", DIGITS)
    .replace("AXES", ATTACKED.replace("), axis", "),\n        axis"))[1:],
    "rule": _with_table(
        RULE,
        DIGITS,
        'axis("rule", ["NAME", "median", "krum"]), axis("attack", ["sign_flip", "alie"]), axis("alpha", [0.2])',
    ),
    "attack": _with_table(
        ATTACK,
        DIGITS,
        'axis("rule", ["mean", "median", "krum"]), axis("attack", ["NAME", "sign_flip"]), axis("alpha", [0.2])',
    ),
    "task": _with_table(
        TASK,
        '"data": "none", "task": "NAME", "m": 10, "batch": 10, "epochs": 5, "lr": 0.1',
        'axis("rule", ["mean", "median"]), axis("attack", ["sign_flip"]), axis("alpha", [0.2])',
    ).replace("    quick=", '    metric="distance",\n    quick='),
    "model": _with_table(MODEL, DIGITS.replace("softmax", "NAME"), ATTACKED),
    "data": _with_table(DATA, DIGITS.replace("digits", "NAME"), ATTACKED),
    "partition": _with_table(
        PARTITION,
        DIGITS,
        'axis("partition", ["iid", "NAME", "sorted_classes"]), axis("rule", ["mean", "median"]), '
        'axis("attack", ["alie"]), axis("alpha", [0.2])',
    ),
}
