"""How much each worker has of each class, before any run."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from byzsim import RunConfig, grid
from byzsim.engine import batches
from byzsim.experiments.datasets import load
from byzsim.experiments.errors import UserError


def partition_table(
    partition: str = "iid",
    *,
    data: str = "fashion_mnist",
    m: int = 20,
    n_byz: int = 0,
    seed: int = 0,
    byzantine_data: str = "own",
    data_dir: str | Path | None = None,
    **options: Any,
) -> pd.DataFrame:
    """How many training examples of each class each worker has: a row for each worker, a column for each class.

    They are those of a run with the same partition, data, m and seed (or data_seed), and the same n_byz if Byzantine
    workers have no data of their own.

    Args:
        partition: a name in `byzsim.partitions.PARTITIONS`.
        data: a data set with classes.
        byzantine_data: own, or none: only honest workers are dealt data.
        data_dir: a folder with the original files of the data set.
        options: of the partition, such as alpha=0.1.
    Raises:
        UserError: the partition, an option or the data set is unknown, or has no classes.
    """
    found = load(data, data_dir=data_dir, log=lambda line: None)
    if found.train is None or found.n_classes is None:
        raise UserError(f"data set {data} has no classes to count")
    settings: Any = {"partition": partition, "partition_args": options, "byzantine_data": byzantine_data}
    try:
        config = RunConfig(m=m, n_byz=n_byz, seed=seed, batch=1, model="softmax", **settings)
        run = grid.resolve(config, grid.source_of(found.train, found.n_classes))
        train = jax.tree.map(jnp.asarray, found.train)
        held = np.asarray(batches.shards(run.static, run.dynamic, run.static.task(), train))
    except ValueError as error:
        raise UserError(str(error)) from None
    labels = np.asarray(found.train.labels)
    rows = [np.bincount(labels[row[row >= 0]], minlength=found.n_classes) for row in held]
    return pd.DataFrame(rows).rename_axis("worker").rename_axis("class", axis=1)
