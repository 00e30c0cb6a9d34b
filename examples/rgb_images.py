"""RGB images from .npy files: patches of two photographs, told apart.

byzsim run examples/rgb_images.py
"""

import tempfile
from pathlib import Path

import numpy as np
from byzsim import Spec
from byzsim.experiments.plan import Table, axis

FOLDER = Path(tempfile.gettempdir()) / "byzsim-photographs"


def photographs():
    """Patches of two photographs, 16 x 16 pixels in RGB."""
    if not (FOLDER / "labels.npy").exists():
        make_files()  # yours are there
    images, labels = np.load(FOLDER / "images.npy"), np.load(FOLDER / "labels.npy")  # uint8 (n, 16, 16, 3) and (n,)
    return (images[::2], labels[::2]), (images[1::2], labels[1::2])


def make_files():
    """Cut the two photographs of scikit-learn into patches, in a random order."""
    from sklearn.datasets import load_sample_images

    patches = [each[:416, :640].reshape(26, 16, 40, 16, 3).swapaxes(1, 2) for each in load_sample_images().images]
    images = np.concatenate(patches).reshape(-1, 16, 16, 3)
    order = np.random.default_rng(0).permutation(len(images))
    FOLDER.mkdir(exist_ok=True)
    np.save(FOLDER / "images.npy", images[order])
    np.save(FOLDER / "labels.npy", np.repeat(["china", "flower"], len(images) // 2)[order] == "flower")


SPECS = {"photographs": Spec(photographs, source="scikit-learn's sample images")}
SPEC = Table(
    name="rgb_images",
    title="Patches of two photographs: an MLP, 8 workers",
    source="this file",
    base={"data": "photographs", "model": "mlp", "m": 8, "batch": 16, "epochs": 5, "lr": 0.1},
    axes=(
        axis("rule", ["mean", "median", "geometric_median"]),
        axis("attack", ["alie", "label_flip"]),
        axis("alpha", [0.25]),
    ),
    quick={"epochs": 1, "steps": 3},
)
