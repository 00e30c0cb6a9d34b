"""Tasks. To add one: a file here that ends in `SPEC = Spec(...)`, and its name in this import list.

A task's factory has keyword-only options and makes a `byzsim.Task`. Where it has an argument `model`, it is given the
run's model; where it has an argument `n_classes`, the number of classes of the data set.
"""

from byzsim.tasks import (
    char_lm,
    classification,
    least_squares,
    logistic,
    noisy_quadratic,
    noisy_wells,
    octopus,
    regression,
    servers,
)
from byzsim.types import Spec

TASKS: dict[str, Spec] = {name: module.SPEC for name, module in list(vars().items()) if hasattr(module, "SPEC")}
"""The tasks: name -> `Spec`."""
