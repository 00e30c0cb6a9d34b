"""Many cells through one compiled program: spread over devices, on each one at a time, or several under vmap."""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from byzsim import engine, spread, trial
from byzsim.cell import Cell
from byzsim.engine import Data, Facts, Knobs, Measured, Program, TrainState
from byzsim.models import MODELS
from byzsim.names import Args, attack_entry, rule_entry
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int


@contextlib.contextmanager
def non_finite():
    """What is not finite is a result: JAX does not look for it within (`jax_debug_nans`, `jax_debug_infs`)."""
    with jax.debug_nans(False), jax.debug_infs(False):
        yield


class Curve(NamedTuple):
    """One run's measurements after each epoch; all (epochs,), numbers as in `engine.Measured` and `engine.Facts`."""

    accuracy: np.ndarray
    loss: np.ndarray
    train_loss: np.ndarray
    byz_weight: np.ndarray
    cosine: np.ndarray
    error: np.ndarray
    variance: np.ndarray
    honest_dropped: np.ndarray
    byz_kept: np.ndarray
    clipped: np.ndarray
    diverged: bool
    diverged_epoch: int | None
    """the first epoch, from 1, after which the parameters or the test loss were not finite; nothing later counts"""
    digest: str
    """of the exact bits: SHA-256 (16 hex digits) of the numbers from accuracy to byz_kept as float32, and, unless it
    diverged, of the parameters"""


class Call(NamedTuple):
    """A factory with its static options: equal by value, so that equal programs are found in the cache."""

    make: Callable[..., Any]
    static: tuple[tuple[str, Any], ...]

    def __call__(self, *args: Any, **traced: Any) -> Any:
        return self.make(*args, **dict(self.static), **traced)


def call(make: Callable[..., Any], options: Args, dtype: Any = jnp.float32) -> tuple[Call, dict[str, jax.Array]]:
    """(factory with its static options, its traced ones): numbers with a point are traced, all others are static."""
    varying = {key: value for key, value in options.items() if isinstance(value, float | jax.Array)}
    static = tuple((key, value) for key, value in sorted(options.items()) if key not in varying)
    return Call(make, static), {key: jnp.asarray(value, dtype) for key, value in varying.items()}


class Group(NamedTuple):
    """Cells that one program runs, with what varies between them."""

    program: Program
    cells: tuple[Cell, ...]
    knobs: tuple[Knobs, ...]


class Snapshot(NamedTuple):
    """One run after some of its epochs, in the host's memory: all that it takes to go on with the same bits."""

    state: TrainState
    measured: Measured
    """of each epoch done, all (epochs,)"""

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.measured.loss)


def plan(cells: Sequence[Cell], n_classes: int) -> list[Group]:
    """Cells by program, in the order of their first member. Float options are traced; all others shape the program."""
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        groups.setdefault((_program(cell, n_classes), cell.epochs), []).append(cell)
    return [Group(program, tuple(group), tuple(map(_knobs, group))) for (program, _), group in groups.items()]


@non_finite()
def run(
    program: Program,
    knobs: Sequence[Knobs],
    train: Data,
    test: Data,
    *,
    epochs: int,
    devices: Sequence[jax.Device] | None = None,
    per_cell: int = 1,
    chunk: int | None = None,
    on_epoch: Callable[[int], None] = lambda done: None,
    resume: Sequence[Snapshot] = (),
    on_state: Callable[[int, Callable[[], list[Snapshot]]], object] = lambda done, snapshots: None,
) -> list[Curve]:
    """Run cells of one program, as many side by side as the devices hold.

    Args:
        knobs: one for each cell; the last is repeated where devices would have nothing to do.
        devices: where to run; default all of them. Several CPU devices, however many, give the same bits, but not those
            of one: XLA fuses a program that is sharded otherwise. Of several processes: those of all of them; every
            process calls this with the same arguments and gets all curves.
        per_cell: devices that share one cell (`byzsim.spread`), a divisor of m and of the number of devices. With more
            than one, sums are taken in another order, so bits differ from those of a cell on one device.
        chunk: cells that a device runs at once under `vmap`. None: one, which gives the same bits as the cell alone;
            the right choice on a CPU. `chunk_within` finds a number for an accelerator.
        on_epoch: called after each epoch of a batch of cells, with the number of epochs done.
        resume: where to go on, one for each cell, all of them after equally many epochs; default: from the start.
        on_state: called after `on_epoch` with the number of epochs done and a function that fetches the batch's
            snapshots, which is to be called before `on_state` returns or not at all.

    Raises:
        ValueError: for counts below 1, data that do not go together or are too few, and if `resume` does not fit the
            cells.
        RuntimeError: in a process that was forked after JAX had started.
    """
    trial.not_forked()
    if epochs < 1 or per_cell < 1 or (chunk is not None and chunk < 1):
        raise ValueError(f"epochs={epochs}, chunk={chunk}, per_cell={per_cell}: expected at least 1 of each")
    if len(train.labels) < program.m * program.batch:
        raise ValueError(f"{len(train.labels)} images are too few for m={program.m} batches of {program.batch}")
    if train.images.shape[1:] != test.images.shape[1:] or not len(test.labels):
        raise ValueError(f"images differ, or there are none: train {train.images.shape}, test {test.images.shape}")
    if resume and (len(resume) != len(knobs) or len({each.epochs for each in resume}) > 1):
        raise ValueError(f"{len(resume)} snapshots for {len(knobs)} cells, expected one each, all after the same epoch")
    devices = devices or jax.devices()
    if program.m % per_cell or len(devices) % per_cell:
        raise ValueError(f"per_cell={per_cell} has to divide m={program.m} and the number of devices, {len(devices)}")
    mesh = _mesh(devices, per_cell)
    at_once = mesh.shape["cells"] * (chunk or 1)
    start, epoch = _compiled(program, mesh, chunk)
    train, test = _placed((train, test), mesh)
    curves: list[Curve] = []
    for first in range(0, len(knobs), at_once):
        part = slice(first, first + at_once)
        batch, before = knobs[part], resume[part]
        stacked = _placed(_stacked(_filled(batch, at_once)), mesh, "cells")
        if before:
            state, measured = _restored(_filled(before, at_once), _state_shardings(start, mesh, stacked, train))
        else:
            state, measured = start(stacked, train), []
        while len(measured) < epochs and not _all_diverged(measured):
            state, now = epoch(stacked, state, train, test)
            measured.append(_fetched_numbers(now))
            on_epoch(len(measured))
            on_state(len(measured), functools.partial(_snapshots, state, measured, len(batch)))
        params = _fetched(state.params)
        curves += [_curve(measured, params[i], i, epochs) for i in range(len(batch))]
    return curves


def everywhere(data: Data, devices: Sequence[jax.Device], per_cell: int = 1) -> Data:
    """Data on all of these devices, of all processes, from arrays that each process has; `run` copies it no more."""
    return _placed(data, _mesh(devices, per_cell))


def _mesh(devices: Sequence[jax.Device], per_cell: int) -> Mesh:
    """Cells over the devices, or over groups of `per_cell` of them."""
    if per_cell == 1:
        return Mesh(np.array(devices), ("cells",))
    return Mesh(np.array(devices).reshape(-1, per_cell), ("cells", spread.WORKERS))


def _placed(tree: Any, mesh: Mesh, *axes: str) -> Any:
    """Arrays that each process has, each putting its own devices' part there."""
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.tree.map(lambda leaf: _put(leaf, sharding), tree)


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable or (isinstance(leaf, jax.Array) and leaf.sharding == sharding):
        return jax.device_put(leaf, sharding)
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def _fetched(tree: Any) -> Any:
    """Arrays on the host of every process."""
    return jax.tree.map(_whole, jax.block_until_ready(tree))  # a collective would not wait for ever


def _whole(leaf: jax.Array) -> np.ndarray:
    """Gathered in parts of at most `GATHERED` bytes, unless one entry of the leading axis has more."""
    if leaf.is_fully_addressable:
        return jax.device_get(leaf)
    count = min(max(GATHERED * len(leaf) // max(leaf.nbytes, 1), 1), len(leaf))
    whole = np.empty(leaf.shape, leaf.dtype)
    for start in range(0, len(leaf), count):
        first = min(start, len(leaf) - count)
        part = _part(leaf, jnp.int32(first), count)
        whole[first : first + count] = multihost_utils.process_allgather(part, tiled=True)
    return whole


@functools.partial(jax.jit, static_argnums=2)
def _part(leaf: jax.Array, first: Int[Array, ""], count: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(leaf, first, count)


def _fetched_numbers(measured: Measured) -> Measured:
    """The same for numbers, one for each cell, in one collective."""
    leaves, form = jax.tree.flatten(measured)
    if leaves[0].is_fully_addressable:
        return jax.device_get(measured)
    rows = zip(leaves, _fetched(_side_by_side(leaves)), strict=True)
    return form.unflatten([row.astype(leaf.dtype) for leaf, row in rows])


@jax.jit
def _side_by_side(leaves: Sequence[jax.Array]) -> jax.Array:
    return jnp.stack([leaf.astype(jnp.float32) for leaf in leaves])


GATHERED = 2**26  # bytes that a collective puts on every device


def template(program: Program, knobs: Knobs, train: Data, epochs: int) -> Snapshot:
    """Shapes and dtypes of a snapshot after so many epochs; nothing is computed."""

    def snapshot() -> Snapshot:
        series = jnp.zeros(epochs, jnp.float32)
        measured = Measured(series, series, Facts(*[series] * len(Facts._fields)), jnp.zeros(epochs, bool))
        return Snapshot(engine.start(program, knobs, train), measured)

    return jax.eval_shape(snapshot)


def _all_diverged(measured: Sequence[Measured]) -> bool:
    """Nothing that counts can follow."""
    return bool(np.any([m.diverged for m in measured], axis=0).all())


def _filled(given: Sequence[Any], size: int) -> list[Any]:
    return [*given, *[given[-1]] * (size - len(given))]


def _snapshots(state: TrainState, measured: Sequence[Measured], n: int) -> list[Snapshot]:
    """Of the first n cells. Copies, as the state's own memory is given to the next epoch."""
    history = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *measured)
    whole = _fetched(state), history
    return [Snapshot(*jax.tree.map(lambda leaf, i=i: np.array(leaf[i]), whole)) for i in range(n)]


def _restored(snapshots: Sequence[Snapshot], shardings: TrainState) -> tuple[TrainState, list[Measured]]:
    """State on the devices, as `start` leaves it there, and measurements, of cells side by side."""
    state, history = jax.tree.map(lambda *leaves: np.stack(leaves), *snapshots)
    measured = [jax.tree.map(lambda leaf, e=e: leaf[:, e], history) for e in range(snapshots[0].epochs)]
    return jax.tree.map(_put, state, shardings), measured


def _state_shardings(start: Any, mesh: Mesh, knobs: Knobs, train: Data) -> TrainState:
    """How `start` leaves a state on the devices; where several share a cell it is up to XLA."""
    if spread.WORKERS in mesh.axis_names:
        return start.lower(knobs, train).compile().output_shardings
    return jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec("cells")), jax.eval_shape(start, knobs, train))


def chunk_within(
    program: Program,
    knobs: Sequence[Knobs],
    train: Data,
    test: Data,
    *,
    devices: Sequence[jax.Device],
    limit: int,
    per_cell: int = 1,
) -> int:
    """How many of these cells each device should run at once under `vmap`, in `limit` bytes of its memory.

    The largest number that fits by XLA's own plan, made when the program is compiled and before anything runs; then
    evenly over the batches: of 12 cells of which 8 fit, 6 and 6.

    Raises:
        ValueError: if not even one cell fits.
    """
    mesh = _mesh(devices, per_cell)
    most = -(-len(knobs) // (len(devices) // per_cell))
    fits = largest_fitting(lambda chunk: _need(program, knobs[0], train, test, mesh, chunk), most, limit)
    return -(-most // -(-most // fits))


def largest_fitting(need: Callable[[int], int], most: int, limit: int) -> int:
    """The largest k from 1 to `most` with need(k) <= limit, need being close to a line; few calls, as each compiles.

    Raises:
        ValueError: if need(1) is above the limit.
    """
    if most > 1 and (all_of_them := need(most)) <= limit:
        return most
    one = need(1)
    if one > limit:
        raise ValueError(
            f"one cell needs {one / 1e9:.2f} GB of the device's memory, and {limit / 1e9:.2f} GB are there"
        )
    if most == 1:
        return 1
    slope = max((all_of_them - one) / (most - 1), 1)
    k = min(1 + int((limit - one) / slope), most - 1)
    while k > 1 and need(k) > limit:
        k -= 1
    return k


def _need(program: Program, knobs: Knobs, train: Data, test: Data, mesh: Mesh, chunk: int) -> int:
    """Bytes on each device while an epoch of `chunk` cells runs: data, state, results and temporaries."""
    start, epoch = _compiled(program, mesh, chunk)
    stacked = _placed(_stacked([knobs] * (mesh.shape["cells"] * chunk)), mesh, "cells")
    train, test = _placed((train, test), mesh)
    state = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        jax.eval_shape(start, stacked, train),
        _state_shardings(start, mesh, stacked, train),
    )
    plan = epoch.lower(stacked, state, train, test).compile().memory_analysis()
    held = plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    return held + plan.temp_size_in_bytes


def _stacked(knobs: Sequence[Knobs]) -> Knobs:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *knobs)


@functools.lru_cache(maxsize=64)
def _compiled(program: Program, mesh: Mesh, chunk: int | None):
    """(start, epoch) over a leading axis of cells, sharded over the mesh; data is replicated, state is donated.

    What devices share one cell do within it is up to `byzsim.spread` and XLA.
    """
    cells, everywhere = PartitionSpec("cells"), PartitionSpec()

    def start(knobs: Knobs, train: Data) -> TrainState:
        return engine.start(program, knobs, train)

    def epoch(knobs: Knobs, state: TrainState, train: Data, test: Data) -> tuple[TrainState, Measured]:
        return engine.epoch(program, knobs, state, train, test)

    def sharded(f, n_cells: int, n_data: int):
        local = jax.vmap(f, in_axes=(0,) * n_cells + (None,) * n_data) if chunk else _on_first(f, n_cells)
        specs = (cells,) * n_cells + (everywhere,) * n_data
        return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=cells, axis_names={"cells"}, check_vma=False)

    return jax.jit(sharded(start, 1, 1)), jax.jit(sharded(epoch, 2, 2), donate_argnums=1)


def _on_first(f: Callable[..., Any], n_cells: int) -> Callable[..., Any]:
    """f of the only cell along the leading axis of its first `n_cells` arguments."""

    def local(*args: Any) -> Any:
        one = jax.tree.map(lambda leaf: leaf[0], args[:n_cells])
        return jax.tree.map(lambda leaf: leaf[None], f(*one, *args[n_cells:]))

    return local


def _program(cell: Cell, n_classes: int) -> Program:
    return Program(
        rule=call(rule_entry(cell.rule).make, cell.rule_args)[0],
        attack=call(attack_entry(cell.attack).make, cell.attack_args)[0],
        model=MODELS[cell.model].make(n_classes=n_classes, **cell.model_args),
        optimizer=Call(getattr(optax, cell.optimizer), tuple(sorted(cell.optimizer_args.items()))),
        m=cell.m,
        batch=cell.batch,
        n_classes=n_classes,
        momentum=cell.momentum,
        sharding=cell.sharding,
        steps=cell.steps,
    )


def _knobs(cell: Cell) -> Knobs:
    return Knobs(
        seed=jnp.uint32(cell.seed),
        f=jnp.int32(cell.f or 0),
        byz=jnp.isin(jnp.arange(cell.m), jnp.array(cell.byzantine or (), int)),
        lr=jnp.float32(cell.lr),
        beta=jnp.float32(cell.momentum_beta),
        dirichlet_alpha=jnp.float32(cell.dirichlet_alpha),
        rule_args=call(rule_entry(cell.rule).make, cell.rule_args)[1],
        attack_args=call(attack_entry(cell.attack).make, cell.attack_args)[1],
    )


def _curve(measured: Sequence[Measured], params: np.ndarray, i: int, epochs: int) -> Curve:
    """Cell i's curve, NaN from its first diverged epoch on, and for epochs that were not worth running."""
    diverged = [bool(m.diverged[i]) for m in measured]
    first = diverged.index(True) if any(diverged) else None

    def series(leaves: Sequence[np.ndarray]) -> np.ndarray:
        values = np.full(epochs, np.nan)
        values[: len(measured)] = [leaf[i] for leaf in leaves]
        values[first if first is not None else epochs :] = np.nan
        return values

    own = {name: series([getattr(m, name) for m in measured]) for name in ("accuracy", "loss")}
    own |= {name: series([getattr(m.facts, name) for m in measured]) for name in Facts._fields}
    end = None if first is None else first + 1
    digested = [values for name, values in own.items() if name != "clipped"]  # which older records do not have
    return Curve(**own, diverged=end is not None, diverged_epoch=end, digest=_digest(digested, params, end))


def _digest(series: Sequence[np.ndarray], params: np.ndarray, diverged_epoch: int | None) -> str:
    """A NaN is a NaN, whatever its bits; parameters count only where no batch mate could have ended the run."""
    total = hashlib.sha256(f"{diverged_epoch};".encode())
    for values in series if diverged_epoch else [*series, params]:
        total.update(np.where(np.isnan(values), np.nan, values).astype("<f4").tobytes())
    return total.hexdigest()[:16]
