"""From a table to its records: what is missing is run, in batches of cells, and recorded as soon as it is done."""

import contextlib
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import Cell, Curve, Data, grid, names, trial
from byzsim.experiments import records
from byzsim.experiments.datasets import Dataset, cache_folder, load
from byzsim.experiments.errors import Incomplete, UserError
from byzsim.experiments.plan import Config, Table, cells
from byzsim.experiments.run import hosts, interrupt, slow_rules
from byzsim.experiments.run.checkpoints import Checkpoints, Saved, megabytes
from byzsim.experiments.run.estimate import Estimate
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

KEPT = 2 * 10**9
PATIENCE = 60.0  # seconds that finished cells wait for a disk or a folder to be written again
PLANNED = 0.9  # of the memory that JAX may take of an accelerator; the rest is for what XLA's plan does not count


def run(
    table: Table,
    config: Config,
    folder: Path,
    *,
    only: Sequence[str] = (),
    quick: bool = False,
    data_dir: Path | None = None,
    checkpoint: float = 60.0,
    per_cell: int = 1,
    strict: bool = False,
    these: Sequence[Cell] | None = None,
    begin: Callable[[], object] = lambda: None,
    say: Callable[[str], object] = print,
) -> list[records.Record]:
    """Run every cell that `folder` has no record of, and record it there; a killed run's cells go on where they were.

    Of several processes (`hosts.session`) all do the same on their own devices, and only the first one uses `folder`.

    Args:
        checkpoint: seconds between the checkpoints of running cells; 0: after every epoch.
        per_cell: devices that share one cell.
        strict: refuse cells beyond their rule's bound; else a warning names them.
        these: run these cells of the table; default: those that `only` leaves.
        begin: called by the process that uses `folder`, when all is checked and before anything is run.
    Returns:
        The cells that failed, as in failures.jsonl.
    Raises:
        UserError: for anything that cannot be run or written, before anything is compiled.
        Incomplete: a finished cell cannot be recorded.
        KeyboardInterrupt: with what is recorded and what is saved.
    """
    with contextlib.ExitStack() as held:

        def prepare() -> tuple[Sequence[Cell], _Session, set[str], int]:
            wanted = cells(config, only) if these is None else these
            _check_devices(wanted, per_cell)
            _check_bounds(wanted, strict, say)
            origin, done = records.origin(), set()
            made_by = {**origin["versions"], "device": origin["device"], "devices per cell": str(per_cell)}
            checkpoints = Checkpoints(folder / "checkpoints", made_by, say, checkpoint)
            if hosts.first():
                records.check_writable(folder)
                held.enter_context(records.exclusive(folder))
                done = {record["id"] for record in records.read(folder / "runs.jsonl", say)}
                checkpoints.drop(done)
            data = load(config.data, data_dir=data_dir, say=say)
            d = _check_fit(wanted, data)
            if hosts.first():
                begin()
            session = _Session(table.name, config.data, quick, data, folder, origin, checkpoints, per_cell, say)
            return wanted, session, done, d

        wanted, session, here, d = hosts.on_all(prepare)
        ids = {session.id(cell): cell for cell in wanted}
        hosts.agree(command=repr((list(ids), per_cell)), code=records.code(), versions=repr(session.origin["versions"]))
        done = set(hosts.told(lambda: sorted(here)))
        missing = {id: cell for id, cell in ids.items() if id not in done}
        say(f"{table.name}: {len(wanted)} cells, {len(wanted) - len(missing)} recorded before, {len(missing)} to run")
        if hosts.first():
            _say_saved(session.checkpoints, missing, say)
            slow_rules.warn(missing.values(), d, say)
        session.run(missing)
        return session.failures


@dataclasses.dataclass(frozen=True, eq=False)
class _Job:
    id: str
    cell: Cell
    knobs: grid.Knobs


@dataclasses.dataclass
class _Rest:
    """What is left of a group, and how it is run."""

    group: grid.Group
    jobs: list[_Job]
    chunk: int | None = None
    halved: int = 0
    """times"""
    alone: set[str] = dataclasses.field(default_factory=set)
    """cells that failed beside others"""


@dataclasses.dataclass
class _Session:
    """One start of a table: its cells in batches, each run, resumed, tried again, and recorded."""

    table: str
    data_name: str
    quick: bool
    data: Dataset
    folder: Path
    origin: records.Record
    checkpoints: Checkpoints
    per_cell: int
    say: Callable[[str], object]
    failures: list[records.Record] = dataclasses.field(default_factory=list)
    finished: int = 0
    """cells, failed ones among them"""

    def id(self, cell: Cell) -> str:
        return records.identifier(self.decides(cell))

    def decides(self, cell: Cell) -> records.Record:
        return records.identity(cell, self.data_name, self.data)

    def run(self, missing: Mapping[str, Cell]) -> None:
        """Batches of one program after another; a line for each cell, and a bar where somebody is watching."""
        if not missing:
            return
        self.train = self._placed(self.data.train_images, self.data.train_labels)
        self.test = self._placed(self.data.test_images, self.data.test_labels)
        self.total = len(missing)
        groups = grid.plan(list(missing.values()), self.data.n_classes)
        self.estimate = Estimate(programs=len(groups))
        try:
            with interrupt.at_once(lambda: self._stopped(missing)), _progress() as self.bar:
                self.bar.add_task("cells", total=self.total, left="")
                for group in groups:
                    self._run_group(group)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._stopped(missing)) from None
        if self.checkpoints.largest:
            self.say(f"checkpoints took up to {megabytes(self.checkpoints.largest)} of disk")

    def _placed(self, images: np.ndarray, labels: np.ndarray) -> Data:
        return grid.everywhere(Data(jnp.asarray(images), jnp.asarray(labels)), jax.devices(), self.per_cell)

    def _run_group(self, group: grid.Group) -> None:
        jobs = [_Job(self.id(cell), cell, knobs) for cell, knobs in zip(group.cells, group.knobs, strict=True)]
        rest = _Rest(group, jobs)
        self.estimate.program()
        try:
            rest.chunk = _apart(lambda check: planned_chunk(group, self.train, self.test, jax.devices(), self.per_cell))
        except Exception as error:
            if hosts.lost(error):
                raise
            return self._fail(rest, jobs, error)
        while rest.jobs:
            batch, saved = _apart(lambda check: self._next_batch(rest))
            try:
                trained = self._train(rest, batch, saved)
            except Exception as error:
                if hosts.lost(error):
                    raise
                if self._other_way(rest, batch, error):
                    continue
                self._fail(rest, batch, error)
            else:
                self._record(rest, batch, *trained)
            rest.jobs = [job for job in rest.jobs if job not in batch]

    def _next_batch(self, rest: _Rest) -> tuple[list[_Job], list[Saved]]:
        """Cells to run side by side, and their checkpoints if they have any: as the first process finds them."""
        saved: dict[str, Saved] = {}

        def choose() -> tuple[list[str], bool]:
            saved.update({job.id: one for job in rest.jobs if (one := self._load(rest, job))})
            batch = self._level(rest, {id: one.snapshot.epochs for id, one in saved.items()})
            return [job.id for job in batch], batch[0].id in saved

        chosen, begun = hosts.told(choose)
        batch = [job for job in rest.jobs if job.id in chosen]
        return batch, [self._told(rest, job, saved) for job in batch] if begun else []

    def _level(self, rest: _Rest, epochs: Mapping[str, int]) -> list[_Job]:
        """Such that stand at one epoch, the furthest first: so a killed batch is put together as it was."""
        epoch = {job: epochs.get(job.id, 0) for job in rest.jobs}
        level = [job for job in rest.jobs if epoch[job] == max(epoch.values())]
        if level[0].id in rest.alone:
            return level[:1]
        together = len(jax.devices()) // self.per_cell * (rest.chunk or 1)
        return [job for job in level if job.id not in rest.alone][:together]

    def _template(self, rest: _Rest, job: _Job) -> Callable[[int], grid.Snapshot]:
        return lambda epochs: grid.template(rest.group.program, job.knobs, self.train, epochs)

    def _load(self, rest: _Rest, job: _Job) -> Saved | None:
        return self.checkpoints.load(job.id, self._template(rest, job)) if job.id in self.checkpoints.epochs() else None

    def _told(self, rest: _Rest, job: _Job, saved: Mapping[str, Saved]) -> Saved:
        """The first process's checkpoint of a cell, on all."""
        return hosts.sent(
            lambda: saved[job.id],
            lambda one: self.checkpoints.packed(job.id, one),
            lambda content: self.checkpoints.unpacked(job.id, content, self._template(rest, job)),
        )

    def _train(self, rest: _Rest, batch: Sequence[_Job], saved: Sequence[Saved]) -> tuple[list[Curve], list[float]]:
        """(curves, seconds of each cell). Checkpoints are written on the way."""
        began, due, epochs = time.monotonic(), self.checkpoints.clock(), batch[0].cell.epochs

        def seconds() -> list[float]:
            spent = (time.monotonic() - began) / len(batch)
            return [before.seconds + spent for before in saved] or [spent] * len(batch)

        def on_epoch(done: int) -> None:
            self.estimate.done(len(batch) / epochs)
            self._show(self.finished + len(batch) * done / epochs)

        def work(check: Callable[[], None]) -> list[Curve]:
            def on_state(done: int, snapshots: Callable[[], list[grid.Snapshot]]) -> None:
                check()
                if done < epochs and hosts.told(due):
                    for job, snapshot, spent in zip(batch, snapshots(), seconds(), strict=True):
                        if hosts.first():
                            self.checkpoints.save(job.id, Saved(snapshot, spent))

            return grid.run(
                rest.group.program,
                [job.knobs for job in batch],
                self.train,
                self.test,
                epochs=epochs,
                devices=jax.devices(),
                per_cell=self.per_cell,
                chunk=rest.chunk,
                on_epoch=on_epoch,
                resume=[one.snapshot for one in saved],
                on_state=on_state,
            )

        self.estimate.start()
        return _apart(work), seconds()

    def _other_way(self, rest: _Rest, batch: Sequence[_Job], error: Exception) -> bool:
        """Where memory ran out, half as many cells at once; else each cell alone. False: there is none left."""
        if _out_of_memory(error) and rest.chunk and rest.chunk > 1:
            rest.chunk, rest.halved = rest.chunk // 2, rest.halved + 1
            self.estimate.compiles = True
            self.say(f"out of memory: from here on {rest.chunk} cells at once on each device")
            return True
        if len(batch) > 1:
            rest.alone |= {job.id for job in batch}
            self.say(f"{len(batch)} cells failed together, each is tried alone: {records.reason(error)}")
            return True
        return False

    def _record(self, rest: _Rest, batch: Sequence[_Job], curves: Sequence[Curve], seconds: Sequence[float]) -> None:
        new = [
            records.record(
                job.cell,
                curve,
                table=self.table,
                quick=self.quick,
                decides=self.decides(job.cell),
                origin=self.origin,
                seconds=spent,
                chunk=rest.chunk,
                halved=rest.halved,
                per_cell=self.per_cell,
            )
            for job, curve, spent in zip(batch, curves, seconds, strict=True)
        ]
        self._keep("runs.jsonl", batch, new)
        if hosts.first():
            self.checkpoints.drop({job.id for job in batch})
        for job, curve in zip(batch, curves, strict=True):
            self._line(job.cell, f"diverged in epoch {curve.diverged_epoch}" if curve.diverged
                       else f"{100 * curve.accuracy[-1]:.2f} %")  # fmt: skip

    def _fail(self, rest: _Rest, batch: Sequence[_Job], error: Exception) -> None:
        new = [
            records.failure(
                self.decides(job.cell),
                error,
                origin=self.origin,
                chunk=rest.chunk,
                halved=rest.halved,
                per_cell=self.per_cell,
            )
            for job in batch
        ]
        self._keep("failures.jsonl", batch, new)
        self.failures += new
        for job in batch:
            self._line(job.cell, f"FAILED, {records.reason(error)}")

    def _keep(self, name: str, batch: Sequence[_Job], new: Sequence[records.Record]) -> None:
        """Append records; where that cannot be done, again for `PATIENCE` seconds: disks and folders come back."""
        if not hosts.first():
            return None
        began, said = time.monotonic(), False
        while True:
            try:
                return records.append(self.folder / name, new)
            except Incomplete as error:
                if time.monotonic() - began >= PATIENCE:
                    lost = "; ".join(_name(job.cell) for job in batch)
                    raise Incomplete(
                        f"{error}. Finished but not recorded: {lost}. What was recorded before is as it was. When the "
                        "folder can be written again, the same command goes on from the last checkpoints."
                    ) from None
                if not said:
                    self.say(f"{error}: trying again for {PATIENCE:.0f} seconds")
                said = True
            time.sleep(0.5)

    def _line(self, cell: Cell, result: str) -> None:
        self.finished += 1
        left = self._show(self.finished)
        self.say("; ".join(filter(None, [f"[{self.finished}/{self.total}] {_name(cell)}: {result}", left])))

    def _show(self, done: float) -> str:
        """On the bar, with the time left, which is returned as printed."""
        left = self.estimate.words(self.total - done)
        self.bar.update(self.bar.task_ids[0], completed=done, left=left)
        return left

    def _stopped(self, missing: Mapping[str, Cell]) -> str:
        if not hosts.first():
            return interrupt.WORDS
        saved = _saved(self.checkpoints, missing) or "nothing of the cells that were running"
        return (
            f"Stopped. Recorded: {self.finished - len(self.failures)} of {self.total} cells. Saved: {saved}. "
            "The same command goes on from there."
        )


T = TypeVar("T")


def _apart(work: Callable[[Callable[[], None]], T]) -> T:
    """work(check), in a thread: XLA does not listen to Ctrl-C, a waiting main thread does.

    After a Ctrl-C the work ends at its next `check()`.
    """
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise KeyboardInterrupt

    def precisely() -> T:
        with jax.default_matmul_precision(records.MATMUL):  # an accelerator would take TF32 or bf16 without being asked
            return work(check)

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(precisely).result()
    finally:
        stopped.set()
        pool.shutdown(wait=False)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _name(cell: Cell) -> str:
    return f"{cell.rule}, {cell.attack}, alpha {cell.alpha:g}, seed {cell.seed}"


NAMED = 4  # cells, in one line


def _saved(checkpoints: Checkpoints, missing: Mapping[str, Cell]) -> str:
    """Which of these cells have a checkpoint, after which epoch, and what they take of the disk."""
    epochs = {id: epoch for id, epoch in checkpoints.epochs().items() if id in missing}
    if not epochs:
        return ""
    named = [f"{_name(missing[id])} after epoch {epoch} of {missing[id].epochs}" for id, epoch in epochs.items()]
    more = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
    size = megabytes(checkpoints.size(epochs))
    return f"{'; '.join(named[:NAMED])}{more} ({size} in {checkpoints.folder})"


def _say_saved(checkpoints: Checkpoints, missing: Mapping[str, Cell], say: Callable[[str], object]) -> None:
    """What is gone on with, and which checkpoints are of other cells."""
    if saved := _saved(checkpoints, missing):
        say(f"going on with {saved}")
    if others := checkpoints.epochs().keys() - missing.keys():
        say(
            f"{checkpoints.folder} also has checkpoints of {len(others)} other cells "
            f"({megabytes(checkpoints.size(others))}), of other seeds, parts or versions: delete what is not wanted"
        )


def planned_chunk(
    group: grid.Group, train: Data, test: Data, devices: Sequence[jax.Device], per_cell: int = 1
) -> int | None:
    """Cells that each device runs at once: as many as its memory holds; None, one after another, on a CPU.

    So too on a device that does not say how much memory it has.

    Raises:
        UserError: if not even one cell fits.
    """
    mine = next(device for device in devices if device.process_index == jax.process_index())
    stats = None if mine.platform == "cpu" else mine.memory_stats()
    limit = min(hosts.gathered(int(PLANNED * (stats or {}).get("bytes_limit", 0))))  # one plan for all processes
    if not limit:
        return None
    try:
        fits, why = (
            grid.chunk_within(group.program, group.knobs, train, test, devices=devices, limit=limit, per_cell=per_cell),
            "",
        )
    except ValueError as error:
        fits, why = 0, str(error)
    chunk = min(hosts.gathered(fits))
    if not chunk:
        raise UserError(
            f"{group.cells[0].rule}: {why or 'not one cell fits into another process'}. Try fewer workers or smaller "
            "batches, or more devices for each cell (--devices-per-cell)."
        )
    return chunk


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True),
        disable=not (sys.stderr.isatty() and hosts.first()),
    )


def _check_bounds(wanted: Sequence[Cell], strict: bool, say: Callable[[str], object]) -> None:
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


def _check_fit(wanted: Sequence[Cell], data: Dataset) -> int:
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


def _check_devices(wanted: Sequence[Cell], per_cell: int) -> None:
    """Do cells, and the workers of each, divide over the devices?"""
    m, count = wanted[0].m, jax.device_count()
    if per_cell < 1 or m % per_cell or count % per_cell:
        raise UserError(
            f"--devices-per-cell {per_cell} has to divide the number of workers, m={m}, and that of devices, {count}. "
            f"Try {', '.join(str(k) for k in range(1, m + 1) if m % k == 0 and count % k == 0)}."
        )


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
