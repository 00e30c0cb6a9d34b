"""SafeguardSGD's setting: 10 workers, 4 of them Byzantine; the single and the double guard as columns; old gradients.

    byzsim run examples/safeguard.py

The setting is that of Allen-Zhu, Ebrahimian, Li, Alistarh, ICLR 2021, on a small problem.
"""

from byzsim.experiments.plan import Table, axis

SPEC = Table(
    name="safeguard_columns",
    title="SafeguardSGD, single and double: softmax regression on digits, 10 workers, 4 of them Byzantine",
    source="this file",
    base={"data": "digits", "model": "softmax", "m": 10, "alpha": 0.4, "batch": 16, "epochs": 10, "lr": 0.5},
    axes=(
        axis(
            "rule",
            {
                "single": {"rule": "safeguard", "rule_args": {"guards": "single"}},
                "double": {"rule": "safeguard", "rule_args": {"guards": "double"}},
                "median": {"rule": "median"},
                "Krum": {"rule": "krum"},
            },
        ),
        axis(
            "attack",
            {
                "delayed gradient": {"attack": "delayed_gradient", "attack_args": {"delay": 40}},
                "sign flip": {"attack": "sign_flip"},
                "safeguard attack": {"attack": "safeguard_attack"},
            },
        ),
        axis("seed", [0, 1]),
    ),
    quick={"epochs": 1},
)
