"""Table 1 of "Efficient Byzantine-resilient stochastic gradient descent" (Li et al., FTL-IJCAI 2021, arXiv 2108.06658).

    byzsim run brsgd_table1 --seeds 0          one seed: about half an hour on 2 cores

What is run: the 4 attacks x {0, 10, 25, 50 %} x {BrSGD, median, mean, Krum} of the paper, plus what it leaves out:
alpha = 0 for every rule, and 45 % (9 of 20), the largest honest majority; at 50 % no rule has a guarantee.

Given by the paper and used as given
    m = 20 workers, LeNet, Fashion-MNIST, mini-batch SGD at 0.03 (caption of Figure 3), beta = 1/2, equal disjoint
    shards, pixels from 0 to 1, and the attacks of section 5.1: N(0, 200^2) noise; minus the sum of the honest gradients
    times 1e10; the worker's own gradient times 1e10; labels 9 - y.

Not given, and chosen once, for all cells alike, before any attacked cell was run
    LeNet               28 x 28 images padded to 32 x 32 as LeCun et al. (61,706 parameters), ReLU, max-pooling; LeCun
                        normal initialisation (Flax's own). The authors' code has sigmoids and Adam, which is not the
                        paper's SGD; sigmoids hardly train with SGD at 0.03.
    batch and epochs    The undefended run without attack has to reach the paper's level, about 85 %. Of the batches 8
                        and 32, the one that gets there with fewer gradients; epochs, the smallest multiple of 4 after
                        which that run is at 85 % or more. Measured with seed 1000, which the table does not use, after
                        4, 8, 12, 16 epochs: batch 8: 83.0, 86.4, 87.9, 88.3 %; batch 32: 75.7, 78.5, 83.0, 84.1 %.
                        So 8 and 8: 3,000 steps. The authors' stored curves have 120 epochs, of another optimizer.
    threshold           BrSGD's T is never stated. 2T is the (m // 2 + 1)-th smallest distance to the median: free of
                        scale, never an empty intersection (`brsgd(threshold="majority")`).
    Krum's f            The number of workers that really attack, as for every rule. Beyond Krum's bound (m >= 2f + 3:
                        f <= 8) it is run as its formula stands, and marked.
    Byzantine workers   The first n_byz, fixed during a run; their shards are lost to the honest ones.

Verdict, fixed before any run
    Agreement (✓) is a mean within 3 points of the paper's number, or both at most 15 %, where nothing was learnt (a run
    that diverged counts as such). 3 points: the stored no-attack curves of the paper's own rules differ by 1 to 4
    points, and one run per cell was made. Otherwise ▲ (ours is higher) or ▼ (ours is lower).
"""

import math

from byzsim.experiments.plan import Config, Table

TOLERANCE = 3.0  # points
NOTHING_LEARNT = 15.0  # percent; chance is 10


def verdict(mean: float, sd: float, n: int, n_diverged: int, paper: float) -> str:
    """✓, ▲ or ▼ for one cell; accuracies in percent, `mean` NaN if every run diverged."""
    del sd
    lost = n_diverged / n
    ours = (0.0 if math.isnan(mean) else mean) * (1 - lost) + 10.0 * lost
    if abs(ours - paper) <= TOLERANCE or max(ours, paper) <= NOTHING_LEARNT:
        return "✓"
    return "▲" if ours > paper else "▼"


ENTRY = Table(
    name="brsgd_table1",
    title="BrSGD Table 1: LeNet on Fashion-MNIST, 20 workers",
    source="Table 1 of Li et al., FTL-IJCAI 2021, arXiv 2108.06658",
    config=Config(
        rules=("brsgd", "median", "mean", "krum"),
        attacks=("gaussian", "negation", "scaling", "label_flip"),
        alphas=(0.0, 0.10, 0.25, 0.45, 0.50),
        data="fashion_mnist",
        model="lenet",
        m=20,
        declared="known",
        batch=8,
        epochs=8,
        lr=0.03,
    ),
    quick={"epochs": 2, "steps": 40},
    published="brsgd_table1.csv",
    verdict=verdict,
    labels={
        "brsgd": "BrSGD",
        "median": "Median",
        "mean": "Mean",
        "krum": "Krum",
        "gaussian": "Gaussian",
        "negation": "Model negation",
        "scaling": "Gradient scale",
        "label_flip": "Label inverse",
        "✓": f"within {TOLERANCE:g} points of the paper, or both at most {NOTHING_LEARNT:g} % (nothing learnt)",
        "▲": "ours is higher",
        "▼": "ours is lower",
    },
    swap=("scaling", "label_flip"),
)
