"""The compiled programs of a grid: `engine.start` and `engine.epoch` over a leading axis of runs."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import engine, platforms, worker_sharding
from byzsim.engine import Data, DynamicConfig, EpochMetrics, StaticConfig, TrainState
from jax.sharding import Mesh, NamedSharding, PartitionSpec

RUNS, REPLICATED = PartitionSpec("runs"), PartitionSpec()


class Programs(NamedTuple):
    """Functions over a leading axis of runs, which is sharded over the axis "runs" of a mesh; data is replicated."""

    start: Callable[[DynamicConfig, Data], TrainState]
    """(dynamic, train) -> state"""
    epoch: Callable[[DynamicConfig, TrainState, Data, Data], tuple[TrainState, EpochMetrics]]
    """(dynamic, state, train, test) -> (state, measured); it reuses the memory of the state"""
    compiled: Callable[[DynamicConfig, TrainState, Data, Data], Sequence[Any]]
    """(the same) -> the compiled programs of `epoch`, for their memory plans; not where each device has its own"""


@functools.lru_cache(maxsize=64)
def programs(static: StaticConfig, mesh: Mesh, runs_per_device: int | None) -> Programs:
    """The programs of `static`.

    Each measurement takes three programs: the order of the batches, the steps, the measurement itself. Only the steps,
    and the states of rule and attack, belong to one rule and attack; the other programs are compiled once for all of
    them. Where several devices share one run (`byzsim.worker_sharding`), XLA distributes one program for all three.
    """
    if worker_sharding.WORKERS in mesh.axis_names:
        return _whole(static, mesh, runs_per_device)
    if runs_per_device is None and mesh.size > 1:
        return _on_each_device(static, mesh)
    shared = _shared(dataclasses.replace(static, rule=_nobody, attack=_nobody, trace=False), mesh, runs_per_device)
    over_runs = functools.partial(_over_runs, mesh, runs_per_device)
    of_members = jax.jit(over_runs(functools.partial(engine.start_of_members, static), 2, 0))
    steps = jax.jit(over_runs(functools.partial(engine.train_steps, static), 3, 1), donate_argnums=1)
    compiled_steps = _compiled_by_one(steps)

    def start(dynamic: DynamicConfig, train: Data) -> TrainState:
        state = shared.start(_common(dynamic), train)
        known = dynamic, state.params
        states = jax.eval_shape(of_members, *known)
        rule, attack = of_members(*known) if jax.tree.leaves(states) else states
        return state._replace(rule=rule, attack=attack)

    def epoch(dynamic: DynamicConfig, state: TrainState, train: Data, test: Data) -> tuple[TrainState, EpochMetrics]:
        order = shared.order(_common(dynamic), _without_members(state), train)
        state, of_steps, trace = compiled_steps(dynamic, state, order, train)
        found, diverged = shared.measure(state.params, state.constants, state.data, train, test)
        return state, EpochMetrics(found, of_steps, diverged, trace)

    def compiled(dynamic: DynamicConfig, state: TrainState, train: Data, test: Data) -> Sequence[Any]:
        order = jax.eval_shape(shared.order, _common(dynamic), _without_members(state), train)
        of_order = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=_runs(mesh)), order)
        measured = state.params, state.constants, state.data, train, test
        planned = ((steps, (dynamic, state, of_order, train)), (shared.measure.__wrapped__, measured))
        return [program.lower(*args).compile() for program, args in planned]

    return Programs(start, epoch, compiled)


class _Shared(NamedTuple):
    start: Any
    order: Any
    measure: Any


@functools.lru_cache(maxsize=64)
def _shared(static: StaticConfig, mesh: Mesh, runs_per_device: int | None) -> _Shared:
    """The programs that do not depend on rule and attack."""
    over_runs = functools.partial(_over_runs, mesh, runs_per_device)

    def order(dynamic: DynamicConfig, state: TrainState, train: Data) -> Any:
        return engine.order(static, dynamic, state, train)

    return _Shared(
        _compiled_by_one(jax.jit(over_runs(functools.partial(engine.start_without_members, static), 1, 1))),
        _compiled_by_one(jax.jit(over_runs(order, 2, 1))),
        _compiled_by_one(jax.jit(over_runs(functools.partial(engine.measure, static), 3, 2))),
    )


def _compiled_by_one(program: Any) -> Any:
    """The program; of several threads that call it at first, one compiles it and the others wait."""
    lock, compiled = threading.Lock(), threading.Event()

    @functools.wraps(program)
    def call(*args: Any) -> Any:
        if compiled.is_set():
            return program(*args)
        with lock:
            result = program(*args)
        compiled.set()
        return result

    return call


def _nobody() -> Any:
    """Stands for the rule and the attack in programs that have neither."""


def _common(dynamic: DynamicConfig) -> DynamicConfig:
    return dynamic._replace(rule_args={}, attack_args={})


def _without_members(state: TrainState) -> TrainState:
    return state._replace(rule=(), attack=())


def _whole(static: StaticConfig, mesh: Mesh, runs_per_device: int | None) -> Programs:
    """`engine.start` and `engine.epoch` as one program each."""
    over_runs = functools.partial(_over_runs, mesh, runs_per_device)
    start = jax.jit(over_runs(functools.partial(engine.start, static), 1, 1))
    epoch = jax.jit(over_runs(functools.partial(engine.epoch, static), 2, 2), donate_argnums=1)
    return Programs(start, epoch, lambda *args: [epoch.lower(*args).compile()])


def _on_each_device(static: StaticConfig, mesh: Mesh) -> Programs:
    """The programs of one device, on each device of this process: a run has the same bits on any number of devices.

    One program that is sharded over the devices would be compiled to other fusions than that of one device.
    """
    whole = NamedSharding(mesh, RUNS)
    alone = {device: programs(static, Mesh(np.array([device]), ("runs",)), None) for device in mesh.local_devices}

    def on_each(call: Callable[..., Any], *args: Any) -> Any:
        """call(its programs, its shards of the arguments) on every device; the results are sharded as the runs are."""
        shards = [jax.tree.map(functools.partial(_shard_on, device), args) for device in alone]  # before one is reused
        found = [call(its, *each) for its, each in zip(alone.values(), shards, strict=True)]

        def joined(*shards: jax.Array) -> jax.Array:
            shape = (mesh.size, *shards[0].shape[1:])
            return jax.make_array_from_single_device_arrays(shape, whole, shards)

        return jax.tree.map(joined, *found)

    def start(dynamic: DynamicConfig, train: Data) -> TrainState:
        return on_each(lambda its, *args: its.start(*args), dynamic, train)

    def epoch(dynamic: DynamicConfig, state: TrainState, train: Data, test: Data) -> tuple[TrainState, EpochMetrics]:
        return on_each(lambda its, *args: its.epoch(*args), dynamic, state, train, test)

    return Programs(start, epoch, lambda *args: [])


def _shard_on(device: jax.Device, leaf: jax.Array) -> jax.Array:
    return next(shard.data for shard in leaf.addressable_shards if shard.device == device)


def _over_runs(
    mesh: Mesh, runs_per_device: int | None, f: Callable[..., Any], n_by_run: int, n_data: int
) -> Callable[..., Any]:
    """f for many runs: its first `n_by_run` arguments have the axis of runs, the others are data."""
    in_axes = (0,) * n_by_run + (None,) * n_data
    many = jax.vmap(f, in_axes=in_axes) if runs_per_device else _for_single_run(f, n_by_run)

    def local(*args: Any) -> Any:
        with platforms.known(mesh.devices.flat[0].platform):
            return many(*args)

    specs = (RUNS,) * n_by_run + (REPLICATED,) * n_data
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=RUNS, axis_names={"runs"}, check_vma=False)


def _for_single_run(f: Callable[..., Any], n_by_run: int) -> Callable[..., Any]:
    """f for a leading axis of length 1 in its first `n_by_run` arguments: the same bits as without that axis."""

    def local(*args: Any) -> Any:
        one = jax.tree.map(lambda leaf: leaf[0], args[:n_by_run])
        return jax.tree.map(lambda leaf: leaf[None], f(*one, *args[n_by_run:]))

    return local


def stack(dynamic: Sequence[DynamicConfig]) -> DynamicConfig:
    """The dynamic configurations of several runs, stacked along the leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *dynamic)


def state_shardings(static: StaticConfig, mesh: Mesh, dynamic: DynamicConfig, train: Data) -> TrainState:
    """The shardings of the state that `start` returns. Where several devices share one run, XLA chooses them."""
    if worker_sharding.WORKERS in mesh.axis_names:
        start: Any = programs(static, mesh, None).start
        return start.lower(dynamic, train).compile().output_shardings
    one = jax.eval_shape(lambda dynamic: jax.tree.map(lambda leaf: leaf[0], dynamic), dynamic)
    return jax.tree.map(lambda _: _runs(mesh), jax.eval_shape(functools.partial(engine.start, static), one, train))


def _runs(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, RUNS)
