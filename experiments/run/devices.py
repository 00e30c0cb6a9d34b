"""This process's devices: how many JAX sees, how many runs each holds, and where compiled programs are kept."""

import os
from collections.abc import Sequence

import jax
from byzsim import Data, grid
from byzsim.experiments.datasets import cache_folder
from byzsim.experiments.errors import UserError
from byzsim.experiments.run import hosts

KEPT = 2 * 10**9  # bytes of compiled programs
PLANNED = 0.9  # of the memory that JAX may take of an accelerator; the rest is for what XLA's plan does not count


def planned_runs_per_device(
    group: grid.Group, train: Data, test: Data, devices: Sequence[jax.Device], devices_per_run: int = 1
) -> int | None:
    """Runs that each device runs at once: as many as its memory holds; None, one after another, on a CPU.

    So too on a device that does not say how much memory it has.

    Raises:
        UserError: if not even one run fits.
    """
    mine = next(device for device in devices if device.process_index == jax.process_index())
    stats = None if mine.platform == "cpu" else mine.memory_stats()
    limit = min(hosts.gathered(int(PLANNED * (stats or {}).get("bytes_limit", 0))))  # one plan for all processes
    if not limit:
        return None
    try:
        fits, why = (
            grid.planned_runs_per_device(
                group.static, group.dynamic, train, test, devices=devices, limit=limit, devices_per_run=devices_per_run
            ),
            "",
        )
    except ValueError as error:
        fits, why = 0, str(error)
    runs_per_device = min(hosts.gathered(fits))
    if not runs_per_device:
        raise UserError(
            f"{group.runs[0].rule}: {why or 'not one run fits into another process'}. Try fewer workers or "
            "smaller batches, or more devices for each run (--devices-per-run)."
        )
    return runs_per_device


def use_all_cores(least: int = 2) -> None:
    """Make every CPU core that this process may use a JAX device, or as many as JAX_NUM_CPU_DEVICES says, at least two.

    To be called before JAX starts.

    Two, since a program that is sharded over several devices gives the same bits on any number of them (measured on 2,
    3 and 4), and others on one: XLA fuses there what it does not fuse here. It is also a quarter faster.
    """
    jax.config.update("jax_num_cpu_devices", max(int(os.environ.get("JAX_NUM_CPU_DEVICES", cores())), least))


def keep_compiled() -> None:
    """Keep compiled programs in the cache folder, so that a table's second start finds them; to be called before JAX
    compiles. The least used go where `KEPT` bytes are passed. Where JAX has been told a folder, nothing is changed; nor
    for a user without a home.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None and (folder := cache_folder()):
        jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
        jax.config.update("jax_compilation_cache_max_size", KEPT)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
