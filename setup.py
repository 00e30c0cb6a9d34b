"""What pyproject.toml cannot say: the folders sim and experiments are the packages byzsim and byzsim.experiments."""

from setuptools import find_packages, setup

FOLDERS = {"byzsim": "sim", "byzsim.experiments": "experiments"}
NOT_INSTALLED = ["bench", "bench.*", "site"]  # of a checkout: their peers, sources and results lie beside it

setup(
    package_dir=FOLDERS,
    packages=[
        ".".join(filter(None, (name, found)))
        for name, folder in FOLDERS.items()
        for found in ("", *find_packages(folder, exclude=NOT_INSTALLED))
    ],
)
