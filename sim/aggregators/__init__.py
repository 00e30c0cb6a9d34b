"""Aggregation rules. To add one: a file here that ends in `SPEC = Spec(...)`, and its name in this import list."""

from byzsim.aggregators import (
    aksel,
    brsgd,
    bulyan,
    byzantine_sgd,
    caf,
    centered_clipping,
    cge,
    clipped_clustering,
    dnc,
    draco,
    finite_mean,
    fltrust,
    geometric_median,
    geometric_median_of_means,
    iterative_filtering,
    krum,
    mda,
    meamed,
    mean,
    median,
    medoid,
    monna,
    multi_krum,
    norm_quantile,
    phocas,
    safeguard,
    sign_majority,
    signguard,
    smea,
    trimmed_mean,
    zeno,
)
from byzsim.types import Spec

AGGREGATORS: dict[str, Spec] = {name: module.SPEC for name, module in list(vars().items()) if hasattr(module, "SPEC")}
"""The aggregation rules: name -> `Spec`. `byzsim.register` adds your own."""
