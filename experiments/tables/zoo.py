"""Every rule under every attack, briefly: what breaks, and what learns at all in 20 steps."""

from byzsim import AGGREGATORS, ATTACKS
from byzsim.experiments.plan import Config, Table
from byzsim.experiments.tables.smoke import no_verdict

SPEC = Table(
    name="zoo",
    title="Every rule under every attack: an MLP on digits, 11 workers, 2 of them Byzantine, 20 steps",
    source="ours; nothing is published",
    config=Config(
        rules=tuple(AGGREGATORS),
        attacks=tuple(ATTACKS),
        alphas=(2 / 11,),
        data="digits",
        model="mlp",
        m=11,
        batch=4,
        steps=20,
        epochs=1,
        lr=0.2,
        options=("draco.r=5",),  # two Byzantine workers in one group of three would have their way
    ),
    quick={"steps": 2},
    verdict=no_verdict,
)
