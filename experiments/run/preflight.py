"""What is checked before anything is compiled: bounds, sizes, labels, devices."""

from collections.abc import Callable, Sequence

import jax
from byzsim import RunConfig, check_shapes, grid
from byzsim.experiments.datasets import Dataset
from byzsim.experiments.errors import UserError


def check_bounds(wanted: Sequence[RunConfig], strict: bool, log: Callable[[str], object]) -> None:
    """Warn about runs with more Byzantine workers than the rule's guarantee covers; raise if `strict`."""
    worst: dict[str, int] = {}
    for run_config in wanted:
        if run_config.beyond_bound:
            worst[run_config.rule] = max(worst.get(run_config.rule, 0), run_config.n_byz, run_config.f or 0)
    for rule, count in worst.items():
        bound = next(run_config.max_f for run_config in wanted if run_config.rule == rule)
        guarantee = f"{rule}'s guarantee covers f <= {bound} for m = {wanted[0].m} workers"
        if strict:
            raise UserError(f"{guarantee}, and a run has {count}. Leave that run out, or start without --strict.")
        log(f"warning: {guarantee}. Runs with up to {count} Byzantine workers are executed and marked †.")


def check_fit(runs: Sequence[grid.Run], data: Dataset) -> int:
    """Check that model, batch, rules and data fit together and into memory. Return the number of parameters, d."""
    try:
        d = check_shapes.runs(runs, data.train)
        for run in runs:
            check_shapes.shards(run, data.train)
    except ValueError as error:
        raise UserError(str(error)) from None
    if data.n_classes is None:
        return d
    absent = sorted({*range(data.n_classes)} - {*data.train_labels.tolist(), *data.test_labels.tolist()})
    poisoned = [run.config.attack for run in runs if "data" in run.attack.traits]
    if absent and poisoned:
        raise UserError(
            f"{poisoned[0]} changes labels, and no image has label {absent[0]} of 0 to {data.n_classes - 1}, so the "
            "attack would create labels that do not occur. Number the classes that occur from 0 without gaps."
        )
    return d


def check_devices(wanted: Sequence[RunConfig], devices_per_run: int) -> None:
    """Check that runs divide over the devices, and the workers of a run over its devices."""
    m, count = wanted[0].m, jax.device_count()
    if devices_per_run < 1 or m % devices_per_run or count % devices_per_run:
        raise UserError(
            f"--devices-per-run {devices_per_run} has to divide the number of workers, m={m}, and the number of "
            f"devices, {count}. Try {', '.join(str(k) for k in range(1, m + 1) if m % k == 0 and count % k == 0)}."
        )
