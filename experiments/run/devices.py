"""This process's devices: how many JAX uses, how many runs each holds, and where compiled programs are kept."""

import os
from collections.abc import Sequence

import jax
from byzsim import Data, grid
from byzsim.experiments.datasets import cache_folder
from byzsim.experiments.errors import UserError
from byzsim.experiments.run.distributed import SINGLE, Processes

CACHE_BYTES = 2 * 10**9  # of compiled programs
MEMORY_FRACTION = 0.9  # of an accelerator's memory; the rest is for allocations that XLA's plan does not count


def planned_runs_per_device(
    group: grid.Group,
    train: Data,
    test: Data,
    devices: Sequence[jax.Device],
    devices_per_run: int = 1,
    processes: Processes = SINGLE,
) -> int | None:
    """How many runs each device executes at once: as many as its memory holds.

    None, one after another, on a CPU and on a device that does not report its memory.

    Raises:
        UserError: not even one run fits.
    """
    mine = next(device for device in devices if device.process_index == jax.process_index())
    stats = None if mine.platform == "cpu" else mine.memory_stats()
    limit = min(processes.all_gather(int(MEMORY_FRACTION * (stats or {}).get("bytes_limit", 0))))  # one plan for all
    if not limit:
        return None
    fits, why = 0, "not one run fits into the memory of another process"
    try:
        fits = grid.planned_runs_per_device(
            group.static, group.dynamic, train, test, devices=devices, limit=limit, devices_per_run=devices_per_run
        )
    except ValueError as error:
        why = str(error)
    runs_per_device = min(processes.all_gather(fits))
    if not runs_per_device:
        raise UserError(
            f"{group.runs[0].config.rule}: {why}. Try fewer workers, smaller batches, or more devices for each run "
            "(--devices-per-run)."
        )
    return runs_per_device


def lanes(devices_per_run: int) -> tuple[list[jax.Device], int]:
    """(the devices to use, in how many lanes): lanes work on different programs at the same time.

    One CPU device works on as many programs at once as it is given, and each program is compiled once for all lanes: so
    there is a lane for each core. Several processes, devices that share runs, and accelerators work on one program at a
    time together.
    """
    every = jax.devices()
    if jax.process_count() > 1 or devices_per_run > 1 or every[0].platform != "cpu":
        return every, 1
    return every[:1], cores()


def use_all_cores() -> None:
    """Make each CPU core that this process may use a JAX device, or as many as JAX_NUM_CPU_DEVICES says.

    To be called before JAX starts.
    """
    jax.config.update("jax_num_cpu_devices", int(os.environ.get("JAX_NUM_CPU_DEVICES", cores())))


def keep_compiled() -> None:
    """Keep compiled programs in the cache folder, so that the second start of a table finds them.

    To be called before JAX compiles. The least recently used programs are deleted above `CACHE_BYTES`. A folder that
    JAX is already configured with stays; without a home folder there is no cache.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None and (folder := cache_folder()):
        jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
        jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
