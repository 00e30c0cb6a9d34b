"""Tabular data: the wines of scikit-learn, 13 measurements of 178 wines from three growers.

byzsim run examples/tabular.py
"""

from byzsim import Spec
from byzsim.experiments.plan import Table, axis
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


def wine():
    """178 wines of three growers, 13 measurements each, standardised."""
    x, y = load_wine(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
    scale = StandardScaler().fit(x)
    return (scale.transform(x), y), (scale.transform(x_test), y_test)


SPECS = {"wine": Spec(wine, source="Aeberhard, Forina, UCI repository (1992)")}
SPEC = Table(
    name="tabular",
    title="Wines: softmax regression, 6 workers",
    source="this file",
    base={"data": "wine", "model": "softmax", "m": 6, "batch": 4, "epochs": 20, "lr": 0.1},
    axes=(
        axis("rule", ["mean", "median", "krum"]),
        axis("attack", ["label_flip", "sign_flip"]),
        axis("alpha", [0, 1 / 3]),
    ),
    quick={"epochs": 1},
)
