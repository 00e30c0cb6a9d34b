"""What is checked before anything is compiled: bounds, sizes, labels, devices."""

from collections.abc import Callable, Sequence

import jax
from byzsim import Cell, names, trial
from byzsim.experiments.datasets import Dataset
from byzsim.experiments.errors import UserError


def bounds(wanted: Sequence[Cell], strict: bool, say: Callable[[str], object]) -> None:
    """Are there cells beyond their rule's bound? A warning, or where `strict`, an error."""
    worst: dict[str, int] = {}
    for cell in wanted:
        if cell.beyond_bound:
            worst[cell.rule] = max(worst.get(cell.rule, 0), cell.n_byz, cell.f or 0)
    for rule, count in worst.items():
        bound = next(cell.max_f for cell in wanted if cell.rule == rule)
        guaranteed = f"{rule} is guaranteed up to f = {bound} of m = {wanted[0].m} workers"
        if strict:
            raise UserError(f"{guaranteed}, and a cell has {count}. Leave the cell out, or run without --strict.")
        say(f"warning: {guaranteed}; cells up to {count} run all the same and are marked as beyond the bound")


def fit(wanted: Sequence[Cell], data: Dataset) -> int:
    """Do model, batch, rules and data go together, and into memory? And the number of parameters."""
    try:
        wanted[0].steps_per_epoch(len(data.train_labels))
        d = trial.cells(wanted, data.train_images.shape[1:], data.n_classes)
    except ValueError as error:
        raise UserError(str(error)) from None
    absent = sorted({*range(data.n_classes)} - {*data.train_labels.tolist(), *data.test_labels.tolist()})
    poisoned = [cell.attack for cell in wanted if "data" in names.attack_entry(cell.attack).traits]
    if absent and poisoned:
        raise UserError(
            f"{poisoned[0]} changes labels, and no image has label {absent[0]} of 0 to {data.n_classes - 1}: it would "
            "give some that nobody has. Number the classes that are there."
        )
    return d


def devices(wanted: Sequence[Cell], per_cell: int) -> None:
    """Do cells, and the workers of each, divide over the devices?"""
    m, count = wanted[0].m, jax.device_count()
    if per_cell < 1 or m % per_cell or count % per_cell:
        raise UserError(
            f"--devices-per-cell {per_cell} has to divide the number of workers, m={m}, and that of devices, {count}. "
            f"Try {', '.join(str(k) for k in range(1, m + 1) if m % k == 0 and count % k == 0)}."
        )
