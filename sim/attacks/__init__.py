"""Attacks. To add one: a file here that ends in `SPEC = Spec(...)`, and its name in this import list."""

from byzsim.attacks import (
    alie,
    byzmean,
    delayed_gradient,
    fang_krum,
    fang_trim,
    full_gradient_negation,
    gaussian,
    hidden_vulnerability,
    inf,
    inner_product,
    label_flip,
    learned,
    mimic,
    min_max,
    min_sum,
    nan,
    negation,
    none,
    optimal_alie,
    optimal_inner_product,
    random_labels,
    rop,
    saddle_push,
    safeguard_attack,
    scaling,
    sign_flip,
    zero_gradient,
)
from byzsim.types import Spec

ATTACKS: dict[str, Spec] = {name: module.SPEC for name, module in list(vars().items()) if hasattr(module, "SPEC")}
"""The attacks: name -> `Spec`."""
