"""Several processes as one: JAX's multi-controller runtime, and what its processes tell each other.

Every process runs the same program on the same table. Process 0 reads and writes the records, so the others need not
see its file system; what it knows, it tells them.
"""

import contextlib
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from byzsim.experiments.errors import UserError
from byzsim.experiments.run import interrupt
from jax.sharding import Mesh, NamedSharding, PartitionSpec

SILENCE = 20  # seconds after which a process that is not heard of counts as dead; JAX's own default is 100

T = TypeVar("T")


@contextlib.contextmanager
def session(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> Generator[None]:
    """One of several processes, from here on; to be entered before JAX starts.

    Without arguments JAX looks for SLURM, Kubernetes, a TPU pod or Open MPI. All processes leave together. When one
    dies, the others end within `SILENCE` seconds: here, where a collective fails, or by JAX itself, which aborts.

    Args:
        coordinator: HOST:PORT at which process 0 listens and the others find it.
        processes, process: how many there are, and which this one is, from 0.
    Raises:
        UserError: nothing is found, or the three do not go together.
    """
    interrupt.without_python()
    _join(coordinator, processes, process)
    _check_two()
    _meet()
    count, mine = jax.process_count(), jax.process_index()
    print(
        f"process {mine} of {count}: {jax.local_device_count()} of {jax.device_count()} devices, on {platform.node()}",
        flush=True,
    )
    try:
        yield
        gathered("done")
    except Exception as error:
        if not lost(error):
            raise
        print(
            f"byzsim: process {mine} of {count} stops, since they can no longer work together; if another one has "
            "ended, its output says why. Finished runs are recorded; the same command goes on with the rest, with as "
            f"many processes as you like. ({str(error).splitlines()[0]})",
            file=sys.stderr,
            flush=True,
        )
        sys.stdout.flush()
        os._exit(1)  # JAX's own goodbye would wait for the dead


def _join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    how = "Give all three: --coordinator HOST:PORT --processes N --process I, I from 0 to N - 1 and the rest the same "
    how += "on every host; or none, under SLURM, Kubernetes, Open MPI or on a TPU pod."
    given = [value is not None for value in (coordinator, processes, process)]
    if any(given) and not all(given):
        raise UserError(f"only a part of where the processes are was given. {how}")
    if coordinator is not None and not re.fullmatch(r".+:\d+", coordinator):
        raise UserError(f"--coordinator {coordinator!r} is not of the form HOST:PORT, such as 10.0.0.1:4321")
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    try:
        jax.distributed.initialize(
            coordinator, processes, process, heartbeat_timeout_seconds=SILENCE, shutdown_timeout_seconds=SILENCE
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"no processes to work with: {str(error).splitlines()[0]} {how}") from None


def _check_two() -> None:
    """One CPU device in all would give other bits than several; `devices.use_all_cores` has the reason."""
    if jax.device_count() == 1 and jax.devices()[0].platform == "cpu":
        raise UserError("one CPU device in all rounds otherwise than several: set JAX_NUM_CPU_DEVICES=2")


def _meet() -> None:
    """Connections between all processes, and between all devices, while all are here: later ones may come too late."""
    gathered("here")
    spread = NamedSharding(Mesh(np.array(jax.devices()), ("devices",)), PartitionSpec("devices"))
    ones = jax.make_array_from_callback((jax.device_count(),), spread, lambda index: np.ones(1, np.int32))
    jax.block_until_ready(jax.jit(jnp.sum)(ones))


def first() -> bool:
    """Is this the process that reads and writes the records?"""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


STATUS = re.compile(
    "(CANCELLED|UNKNOWN|INVALID_ARGUMENT|DEADLINE_EXCEEDED|NOT_FOUND|ALREADY_EXISTS|PERMISSION_DENIED|UNAUTHENTICATED|"
    "RESOURCE_EXHAUSTED|FAILED_PRECONDITION|ABORTED|OUT_OF_RANGE|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS): "
)


def lost(error: Exception) -> bool:
    """May other processes have gone on without it? So of a status of XLA's, and where memory or files failed here."""
    here = isinstance(error, MemoryError | OSError) or STATUS.match(str(error))
    return bool(here) and several()


def several() -> bool:
    """Are there other processes?"""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def told(make: Callable[[], Any]) -> Any:
    """What `make` gives in the first process, a JSON value, in all of them; to be called by all."""
    return gathered(make() if first() else None)[0] if several() else make()


def sent(make: Callable[[], T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> T:
    """The same, of anything that can be packed."""
    if not several():
        return make()
    value = [make()] if first() else []
    content = b"".join(pack(each) for each in value)
    size = gathered(len(content))[0]
    content = _shared(_first_row, np.frombuffer(content.ljust(size), np.uint8)).tobytes()
    return value[0] if value else unpack(content)


def gathered(mine: Any) -> list[Any]:
    """What each process gives, JSON values, in order of processes; to be called by all of them."""
    if not several():
        return [mine]
    text = _json(mine)
    longest = int(_shared(_all_rows, np.array([len(text)], np.int32)).max())
    return [json.loads(row.tobytes()) for row in _shared(_all_rows, np.frombuffer(text.ljust(longest), np.uint8))]


def _first_row(rows: jax.Array) -> jax.Array:
    return rows[0]


def _all_rows(rows: jax.Array) -> jax.Array:
    return rows


def _shared(of: Callable[[jax.Array], jax.Array], mine: np.ndarray) -> np.ndarray:
    """`of` all processes' arrays, of one shape, in rows. JAX's own helpers want equally many devices on each."""
    devices = {device.process_index: device for device in reversed(jax.devices())}
    mesh = Mesh(np.array([devices[process] for process in sorted(devices)]), ("processes",))
    by_process, whole = NamedSharding(mesh, PartitionSpec("processes")), NamedSharding(mesh, PartitionSpec())
    rows = jax.make_array_from_process_local_data(by_process, mine[None], (len(devices), *mine.shape))
    return np.asarray(jax.jit(of, out_shardings=whole)(rows))


def on_all(work: Callable[[], T]) -> T:
    """What `work` gives here, once it has come to an end on all processes.

    Raises:
        UserError: if it has raised something on another one: so none is left waiting.
    """
    if not several():
        return work()
    try:
        result, trouble = [work()], None
    except Exception as error:
        result, trouble = [], error
    ends = gathered([platform.node(), None if trouble is None else str(trouble)])
    if trouble and not isinstance(trouble, UserError):
        raise trouble
    for number, (host, text) in enumerate(ends):
        if text is not None:
            raise UserError(f"process {number} on {host}: {text}")
    return result[0]


def agree(**about: str) -> None:
    """Check that all processes are about to do the same work.

    Raises:
        UserError: on all of them, naming the first process that differs from process 0, and in what.
    """
    all_of_them = gathered([platform.node(), about])
    host, wanted = all_of_them[0]
    for number, (other, theirs) in enumerate(all_of_them):
        if differs := [name for name in wanted if theirs[name] != wanted[name]]:
            raise UserError(
                f"process {number} on {other} has another {' and '.join(differs)} than process 0 on {host}. Start the "
                "same command with the same code and data on every host."
            )
