"""Data sets of a user's own: what a function returns in place of a file here."""

from typing import Any

import jax
import numpy as np
from byzsim import data
from byzsim.experiments.datasets._base import Dataset, Spec, dataset


def is_data(made: Any) -> bool:
    """Whether that is a data set: a `Dataset`, or a pair (train, test) of pairs (inputs, labels)."""
    pairs = isinstance(made, tuple | list) and len(made) == 2
    return isinstance(made, Dataset) or (pairs and all(isinstance(p, tuple | list) and len(p) == 2 for p in made))


def spec_of(name: str, made: Any, summary: str, source: str) -> Spec:
    """The registry's entry of a data set that is in memory.

    Whole numbers (n,) for labels are classes, and are numbered from 0 without gaps in the order of the labels. Labels
    in floating point are targets.

    Raises:
        ValueError: the arrays cannot be used.
    """
    whole = made if isinstance(made, Dataset) else _dataset(name, *made)

    def load(**places: object) -> Dataset:
        del places
        return whole

    return Spec(load, summary, source)


def _dataset(name: str, train: Any, test: Any) -> Dataset:
    pairs = data.examples("train", train), data.examples("test", test)
    data.check_alike(*pairs)
    n_classes = None
    if all(data.are_classes(each.labels) for each in pairs):
        *pairs, n_classes = data.numbered(*pairs)
    copied = [jax.tree.map(np.array, each) for each in pairs]  # which becomes read-only
    return dataset((*copied[0], *copied[1]), n_classes=n_classes, source=name)
