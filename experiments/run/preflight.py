"""What is checked before anything is compiled: bounds, sizes, labels, devices."""

from collections.abc import Callable, Sequence

import jax
from byzsim import RunConfig, check_shapes, grid
from byzsim.engine.measures import evaluate
from byzsim.engine.workers import one_example
from byzsim.experiments.datasets import Dataset
from byzsim.experiments.errors import UserError, unknown
from byzsim.experiments.plan.table import NUMBER
from byzsim.task import Task


def check_bounds(wanted: Sequence[RunConfig], strict: bool, log: Callable[[str], object]) -> None:
    """Warn about runs with more Byzantine workers than the rule's guarantee covers; raise if `strict`."""
    worst: dict[tuple[str, int, int], int] = {}
    for run_config in wanted:
        if run_config.beyond_bound:
            key = run_config.rule, run_config.participants, run_config.max_f
            worst[key] = max(worst.get(key, 0), run_config.n_byz, run_config.f or 0)
    for (rule, m, bound), count in worst.items():
        guarantee = f"{rule}'s guarantee covers f <= {bound} for m = {m} workers"
        if strict:
            raise UserError(f"{guarantee}, and a run has {count}. Leave that run out, or start without --strict.")
        log(f"warning: {guarantee}. Runs with up to {count} Byzantine workers are executed and marked †.")


def check_fit(runs: Sequence[grid.Run], data: Dataset) -> int:
    """Check that model, batch, rules and data fit together and into memory. Return the number of parameters, d."""
    alike: dict[str, list[grid.Run]] = {}
    for run in runs:
        config = run.config
        alike.setdefault(
            repr((run.static.task, config.m, config.participants, config.batch, config.momentum)), []
        ).append(run)
    try:
        d = max(check_shapes.runs(part, data.train) for part in alike.values())
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


def check_number(runs: Sequence[grid.Run], data: Dataset, metric: str, number: str) -> None:
    """Check that every run measures the table's metric, and often enough for its number.

    Raises:
        UserError: if one does not.
    """
    for task, run in {run.static.task: run for run in runs}.items():
        if metric not in (measured := _metrics(task(), data)):
            raise unknown(f"metric of task {run.config.task}", metric, measured)
    kind = NUMBER.fullmatch(number)
    fewest = min(run.measurements for run in runs)
    if kind and int(kind[1] or 1) > fewest:
        raise UserError(f"number={number!r} needs {kind[1]} measurements, and a run has {fewest}")


def _metrics(task: Task, data: Dataset) -> list[str]:
    """What a task measures."""
    train, test, facts = data.train, data.test, ()
    if task.generate:
        generate = task.generate
        train, test, facts = jax.eval_shape(lambda: generate(jax.random.key(0), 2))
    params, constants = jax.eval_shape(task.init, jax.random.key(0), one_example(task, train))
    return list(jax.eval_shape(lambda *given: evaluate(task, *given), params, constants, test, facts))


def check_devices(wanted: Sequence[RunConfig], devices_per_run: int) -> None:
    """Check that runs divide over the devices, and the workers of a run over its devices."""
    count = jax.device_count()
    for m in dict.fromkeys(run_config.m for run_config in wanted):
        if devices_per_run < 1 or m % devices_per_run or count % devices_per_run:
            raise UserError(
                f"--devices-per-run {devices_per_run} has to divide the number of workers, m={m}, and the number of "
                f"devices, {count}. Try {', '.join(str(k) for k in range(1, m + 1) if m % k == 0 and count % k == 0)}."
            )
