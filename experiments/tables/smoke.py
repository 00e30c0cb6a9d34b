"""A first look, in seconds and without any network: softmax regression on scikit-learn's digits.

Gaussian noise, which breaks only the mean; and an attack optimised against the rule in use, which also breaks Krum.
"""

from byzsim.experiments.plan import Table, axis

SPEC = Table(
    name="smoke",
    title="A first look: softmax regression on digits, 10 workers",
    source="this project; no published numbers",
    base={"data": "digits", "model": "softmax", "m": 10, "batch": 16, "epochs": 10, "lr": 0.5},
    axes=(
        axis("rule", ["mean", "median", "krum", "brsgd"]),
        axis("attack", ["gaussian", "optimal_inner_product"]),
        axis("alpha", [0.0, 0.2]),
    ),
    quick={"epochs": 1},
    labels={
        "brsgd": "BrSGD",
        "median": "Median",
        "mean": "Mean",
        "krum": "Krum",
        "gaussian": "Gaussian",
        "optimal_inner_product": "Optimal inner product",
    },
)
