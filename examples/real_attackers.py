"""How many attackers there really are, and how many the rule expects: s = 0 to f at a fixed declared f.

byzsim run examples/real_attackers.py
python examples/real_attackers.py            # the figure, from the results
"""

from byzsim.experiments import load_results, plot
from byzsim.experiments.plan import Table, axis

F = 4

SPEC = Table(
    name="real_attackers",
    title=f"0 to {F} real attackers, {F} declared: softmax regression on digits, 11 workers",
    source="this file",
    base={"data": "digits", "model": "softmax", "m": 11, "f": F, "batch": 16, "epochs": 5, "lr": 0.5},
    axes=(
        axis("rule", ["krum", "multi_krum", "trimmed_mean", "nnm+median"]),
        axis("attack", ["alie", "sign_flip"]),
        axis("n_byz", range(F + 1)),
    ),
    panels=("attack",),
    rows=("n_byz",),
    quick={"epochs": 1},
)

if __name__ == "__main__":
    plot.against(load_results("results/real_attackers"), "n_byz").savefig("real_attackers.png")
