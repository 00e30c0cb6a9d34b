"""A first look, in seconds and without any network: softmax regression on scikit-learn's digits.

Noise, which ends the mean and no other rule; and an attack that tries the rule in use, against which Krum falls too.
"""

from byzsim.experiments.plan import Config, Table


def no_verdict(mean: float, sd: float, n: int, n_diverged: int, paper: float) -> str:
    """Nothing is published for this table."""
    del mean, sd, n, n_diverged, paper
    return ""


SPEC = Table(
    name="smoke",
    title="A first look: softmax regression on digits, 10 workers",
    source="ours; nothing is published",
    config=Config(
        rules=("mean", "median", "krum", "brsgd"),
        attacks=("gaussian", "optimal_inner_product"),
        alphas=(0.0, 0.2),
        data="digits",
        model="softmax",
        m=10,
        batch=16,
        epochs=10,
        lr=0.5,
    ),
    quick={"epochs": 1},
    verdict=no_verdict,
    labels={
        "brsgd": "BrSGD",
        "median": "Median",
        "mean": "Mean",
        "krum": "Krum",
        "gaussian": "Gaussian",
        "optimal_inner_product": "Optimal inner product",
    },
)
