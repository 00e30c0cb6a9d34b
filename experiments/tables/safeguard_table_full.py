"""The table of SafeguardSGD's submission, full edition: `safeguard_table` with ResNet-20 and 200 epochs.

    byzsim run safeguard_table_full        for an accelerator; nobody has run the whole of it yet

Rules, attacks, windows, comparison and verdict are those of `safeguard_table`, and so are batch, thresholds and what
else the paper does not give. Instead of a rate chosen by trial there is the recipe of ResNet's paper (He et al. 2016,
section 4.2): 0.1, a tenth of that after half and a hundredth after three quarters of the steps, weight decay 1e-4. Its
momentum is left out, since Algorithm 1 has none; so are crops and flips of the images, which byzsim does not have. A
lower ideal than 90.8 % is therefore expected, and losses are compared.
"""

import dataclasses

from byzsim.experiments.tables import safeguard_table

EPOCHS = 200
STEPS = EPOCHS * safeguard_table.EPOCH

SPEC = dataclasses.replace(
    safeguard_table.SPEC,
    name="safeguard_table_full",
    title="SafeguardSGD's table, full edition: ResNet-20 on CIFAR-10, 10 workers, 4 of them Byzantine, 200 epochs",
    source="the submission's table in Allen-Zhu et al., ICLR 2021, arXiv 2012.14368",
    base={name: value for name, value in safeguard_table.SPEC.base.items() if name != "lenet.padding"}
    | {"model": "resnet20", "epochs": EPOCHS, "lr": 0.1, "zeno.rho": 0.1 / 200, "weight_decay": 1e-4}
    | {"schedule": "piecewise", "piecewise.at": [STEPS // 2, 3 * STEPS // 4], "piecewise.factors": [0.1, 0.01]},
)
