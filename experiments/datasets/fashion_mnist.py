"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28x28, ten classes of 7,000."""

from functools import partial

from byzsim.experiments.datasets import _idx, _sources
from byzsim.experiments.datasets._base import Spec

RECIPE = _idx.recipe(
    "fashion_mnist",
    home="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    sha256={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    debian=_sources.Debian("dataset-fashion-mnist", folder="usr/share/datasets/fashion-mnist"),
)
SPEC = Spec(
    load=partial(_sources.load, RECIPE),
    summary="60,000 + 10,000 grey images of clothes, 28x28, 10 classes",
    source="Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv:1708.07747 (2017)",
)
