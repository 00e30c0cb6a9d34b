"""One process or several: `Processes`, with `Single` and, over JAX's multi-controller runtime, `Distributed`.

Every process runs the same program on the same table. Process 0, the primary, reads and writes the results folder and
broadcasts what it has read, so the other processes need no access to that folder.
"""

import contextlib
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from byzsim.experiments.errors import UserError
from byzsim.experiments.run import interrupt
from jax.sharding import Mesh, NamedSharding, PartitionSpec

HEARTBEAT_SECONDS = 20  # without a heartbeat a process counts as dead after this time; JAX's default is 100

T = TypeVar("T")


class Processes(Protocol):
    """The processes that work on one table. Every process has to call each method at the same point."""

    is_primary: bool
    """whether this process reads and writes the results folder"""

    def broadcast(self, make: Callable[[], Any]) -> Any:
        """Return the primary's make(), a JSON value, in all processes."""
        ...

    def broadcast_bytes(self, make: Callable[[], T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> T:
        """Return the primary's make() in all processes; the value travels as bytes."""
        ...

    def all_gather(self, value: Any) -> list[Any]:
        """Return the JSON values of all processes, in the order of their ranks."""
        ...

    def run_on_all(self, work: Callable[[], T]) -> T:
        """Return work() of this process after all processes have finished it.

        Raises:
            UserError: in all processes, if it raised in any of them; so no process is left waiting.
        """
        ...

    def check_consistent(self, **facts: str) -> None:
        """Check that all processes have the same facts.

        Raises:
            UserError: in all processes, naming the first process that differs from process 0, and the facts.
        """
        ...

    def is_peer_failure(self, error: Exception) -> bool:
        """Return whether other processes may have continued without this error, so that no collective can succeed."""
        ...


class Single:
    """The only process."""

    is_primary = True

    def broadcast(self, make: Callable[[], Any]) -> Any:
        return make()

    def broadcast_bytes(self, make: Callable[[], T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> T:
        return make()

    def all_gather(self, value: Any) -> list[Any]:
        return [value]

    def run_on_all(self, work: Callable[[], T]) -> T:
        return work()

    def check_consistent(self, **facts: str) -> None:
        pass

    def is_peer_failure(self, error: Exception) -> bool:
        return False


SINGLE = Single()

STATUS = re.compile(
    "(CANCELLED|UNKNOWN|INVALID_ARGUMENT|DEADLINE_EXCEEDED|NOT_FOUND|ALREADY_EXISTS|PERMISSION_DENIED|UNAUTHENTICATED|"
    "RESOURCE_EXHAUSTED|FAILED_PRECONDITION|ABORTED|OUT_OF_RANGE|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS): "
)


class Distributed:
    """One of several processes, after `jax.distributed.initialize`."""

    def __init__(self) -> None:
        self.count, self.rank = jax.process_count(), jax.process_index()
        self.is_primary = self.rank == 0

    def broadcast(self, make: Callable[[], Any]) -> Any:
        return self.all_gather(make() if self.is_primary else None)[0]

    def broadcast_bytes(self, make: Callable[[], T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> T:
        value = [make()] if self.is_primary else []
        content = b"".join(pack(each) for each in value)
        size = self.all_gather(len(content))[0]
        content = _gather(np.frombuffer(content.ljust(size), np.uint8), _first_row).tobytes()
        return value[0] if value else unpack(content)

    def all_gather(self, value: Any) -> list[Any]:
        text = json.dumps(value).encode()
        longest = int(_gather(np.array([len(text)], np.int32), _all_rows).max())
        rows = _gather(np.frombuffer(text.ljust(longest), np.uint8), _all_rows)
        return [json.loads(row.tobytes()) for row in rows]

    def run_on_all(self, work: Callable[[], T]) -> T:
        try:
            result, failure = [work()], None
        except Exception as error:
            result, failure = [], error
        ends = self.all_gather([platform.node(), None if failure is None else str(failure)])
        if failure and not isinstance(failure, UserError):
            raise failure
        for rank, (host, message) in enumerate(ends):
            if message is not None:
                raise UserError(f"process {rank} on {host}: {message}")
        return result[0]

    def check_consistent(self, **facts: str) -> None:
        (host, expected), *peers = self.all_gather([platform.node(), facts])
        for rank, (peer_host, found) in enumerate(peers, 1):
            if differing := [name for name in expected if found[name] != expected[name]]:
                raise UserError(
                    f"process {rank} on {peer_host} has another {' and '.join(differing)} than process 0 on {host}. "
                    "Start the same command with the same code and data on every host."
                )

    def is_peer_failure(self, error: Exception) -> bool:
        # a status of XLA's, or a lack of memory or a file error in this process alone
        return isinstance(error, MemoryError | OSError) or bool(STATUS.match(str(error)))


def _first_row(rows: jax.Array) -> jax.Array:  # functions with names, so that `jit` finds their programs again
    return rows[0]


def _all_rows(rows: jax.Array) -> jax.Array:
    return rows


def _gather(mine: np.ndarray, take: Callable[[jax.Array], jax.Array]) -> np.ndarray:
    """take(rows), with the arrays of all processes, of one shape, as rows.

    JAX's own helpers need equally many devices in every process.
    """
    devices = {device.process_index: device for device in reversed(jax.devices())}
    mesh = Mesh(np.array([devices[process] for process in sorted(devices)]), ("processes",))
    by_process, whole = NamedSharding(mesh, PartitionSpec("processes")), NamedSharding(mesh, PartitionSpec())
    rows = jax.make_array_from_process_local_data(by_process, mine[None], (len(devices), *mine.shape))
    return np.asarray(jax.jit(take, out_shardings=whole)(rows))


@contextlib.contextmanager
def join(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> Generator[Distributed]:
    """Make this process one of several; to be entered before JAX starts.

    Without arguments JAX looks for SLURM, Kubernetes, a TPU pod or Open MPI. All processes leave together. When one
    dies, each other process ends within `HEARTBEAT_SECONDS`: here, where a collective fails, or by JAX's own abort.

    Args:
        coordinator: HOST:PORT at which process 0 listens and the other processes connect.
        num_processes: total number of processes.
        process_id: rank of this process, from 0.
    Raises:
        UserError: JAX finds no processes, or only some of the three arguments were given.
    """
    interrupt.use_system_handler()
    _initialize(coordinator, num_processes, process_id)
    processes = Distributed()
    _barrier(processes)
    where = f"process {processes.rank} of {processes.count}"
    print(f"{where}: {jax.local_device_count()} of {jax.device_count()} devices, on {platform.node()}", flush=True)
    try:
        yield processes
        processes.all_gather("done")
    except Exception as error:
        if not processes.is_peer_failure(error):
            raise
        print(
            f"byzsim: {where}: lost contact with another process; stopping. If another process has ended, its output "
            "states the cause. Finished runs are recorded; the same command continues with the rest, with any number "
            f"of processes. ({str(error).splitlines()[0]})",
            file=sys.stderr,
            flush=True,
        )
        sys.stdout.flush()
        os._exit(1)  # JAX's shutdown would wait for the dead process


def _initialize(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    usage = (
        "Give all of --coordinator HOST:PORT --num-processes N --process-id I (I from 0 to N - 1, the other two the "
    )
    usage += "same on every host), or none of them under SLURM, Kubernetes, Open MPI or on a TPU pod."
    given = [value is not None for value in (coordinator, num_processes, process_id)]
    if any(given) and not all(given):
        raise UserError(f"only some of the three options for several processes were given. {usage}")
    if coordinator is not None and not re.fullmatch(r".+:\d+", coordinator):
        raise UserError(f"--coordinator {coordinator!r} is not of the form HOST:PORT, such as 10.0.0.1:4321")
    jax.config.update("jax_enable_preemption_service", False)  # the service would swallow SIGTERM
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"JAX found no processes to join: {str(error).splitlines()[0]} {usage}") from None


def _barrier(processes: Distributed) -> None:
    """Connect all processes and all devices now, while all of them are there; a later connection may time out."""
    processes.all_gather("here")
    by_device = NamedSharding(Mesh(np.array(jax.devices()), ("devices",)), PartitionSpec("devices"))
    ones = jax.make_array_from_callback((jax.device_count(),), by_device, lambda index: np.ones(1, np.int32))
    jax.block_until_ready(jax.jit(jnp.sum)(ones))
