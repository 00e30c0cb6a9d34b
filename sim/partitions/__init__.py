"""How data are dealt out. To add one: a file here that ends in `SPEC = Spec(...)`, and its name in this import list."""

from byzsim.partitions import (
    by_labels,
    dirichlet,
    dirichlet_by_class,
    iid,
    long_tail,
    similarity,
    sorted_classes,
)
from byzsim.partitions._common import Partition, Pool
from byzsim.partitions.given import given
from byzsim.types import Spec

__all__ = ["PARTITIONS", "Partition", "Pool", "given"]

PARTITIONS: dict[str, Spec] = {name: module.SPEC for name, module in list(vars().items()) if hasattr(module, "SPEC")}
"""The partitions of examples among workers: name -> `Spec`."""
