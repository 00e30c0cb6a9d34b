"""scikit-learn's digits: 1,437 + 360 grey images, 8x8, ten classes, inside its package: no network."""

import numpy as np
from byzsim.experiments.datasets._base import Dataset, Spec, dataset

SEED = 0  # of the split: shuffled, as neighbours in the file may be by the same hand
TRAIN = 1_437


def load(**places: object) -> Dataset:
    """The data set, its values 0..16 scaled to 0..255, in the order of one fixed permutation.

    Args:
        places: `cache_dir`, `data_dir` and `say`, as every entry takes them; none is needed.
    """
    del places
    from sklearn.datasets import load_digits  # its import takes over a second

    raw = load_digits()
    images = np.rint(raw.images * (255 / 16)).astype(np.uint8)
    labels = raw.target.astype(np.uint8)
    shuffled = np.random.default_rng(SEED).permutation(len(labels))
    train, test = shuffled[:TRAIN], shuffled[TRAIN:]
    arrays = (images[train], labels[train], images[test], labels[test])
    return dataset(arrays, n_classes=10, source="scikit-learn's package")


SPEC = Spec(
    load=load,
    summary="1,437 + 360 grey images of handwritten digits, 8x8, 10 classes; needs no network",
    source="Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI repository (1998), test part",
)
