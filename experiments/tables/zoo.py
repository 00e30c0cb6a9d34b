"""Every rule under every attack for 20 steps: which rules break, and which learn."""

from byzsim import AGGREGATORS, ATTACKS
from byzsim.experiments.plan import Table, axis

SPEC = Table(
    name="zoo",
    title="Every rule under every attack: an MLP on digits, 11 workers, 2 of them Byzantine, 20 steps",
    source="this project; no published numbers",
    base={"data": "digits", "model": "mlp", "m": 11, "batch": 4, "steps": 20, "epochs": 1, "lr": 0.2}
    | {"draco.r": 5},  # two Byzantine workers in one group of three would be its majority
    # saddle_push is made for a function of few coordinates, the octopus: on a network it pushes a single weight
    axes=(
        axis("rule", AGGREGATORS),
        axis("attack", [name for name in ATTACKS if name != "saddle_push"]),
        axis("alpha", [2 / 11]),
    ),
    quick={"steps": 2},
)
