"""What is checked before anything is compiled: bounds, sizes, labels, devices."""

from collections.abc import Callable, Sequence

import jax
from byzsim import RunConfig, check_shapes, names
from byzsim.experiments.datasets import Dataset
from byzsim.experiments.errors import UserError


def bounds(wanted: Sequence[RunConfig], strict: bool, say: Callable[[str], object]) -> None:
    """Are there runs beyond their rule's bound? A warning, or where `strict`, an error."""
    worst: dict[str, int] = {}
    for run_config in wanted:
        if run_config.beyond_bound:
            worst[run_config.rule] = max(worst.get(run_config.rule, 0), run_config.n_byz, run_config.f or 0)
    for rule, count in worst.items():
        bound = next(run_config.max_f for run_config in wanted if run_config.rule == rule)
        guaranteed = f"{rule} is guaranteed up to f = {bound} of m = {wanted[0].m} workers"
        if strict:
            raise UserError(f"{guaranteed}, and a run has {count}. Leave the run out, or run without --strict.")
        say(f"warning: {guaranteed}; runs up to {count} run all the same and are marked as beyond the bound")


def fit(wanted: Sequence[RunConfig], data: Dataset) -> int:
    """Do model, batch, rules and data go together, and into memory? And the number of parameters."""
    try:
        wanted[0].steps_per_epoch(len(data.train_labels))
        d = check_shapes.runs(wanted, data.train_images.shape[1:], data.n_classes)
    except ValueError as error:
        raise UserError(str(error)) from None
    absent = sorted({*range(data.n_classes)} - {*data.train_labels.tolist(), *data.test_labels.tolist()})
    poisoned = [run_config.attack for run_config in wanted if "data" in names.attack_spec(run_config.attack).traits]
    if absent and poisoned:
        raise UserError(
            f"{poisoned[0]} changes labels, and no image has label {absent[0]} of 0 to {data.n_classes - 1}: it would "
            "give some that nobody has. Number the classes that are there."
        )
    return d


def devices(wanted: Sequence[RunConfig], devices_per_run: int) -> None:
    """Do runs, and the workers of each, divide over the devices?"""
    m, count = wanted[0].m, jax.device_count()
    if devices_per_run < 1 or m % devices_per_run or count % devices_per_run:
        raise UserError(
            f"--devices-per-run {devices_per_run} has to divide the number of workers, m={m}, and that of devices, "
            f"{count}. "
            f"Try {', '.join(str(k) for k in range(1, m + 1) if m % k == 0 and count % k == 0)}."
        )
