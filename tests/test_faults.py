"""Runs that are killed, stopped and hindered: nothing recorded is lost, and what goes on gives the same bits.

`make test-faults` runs all of it; `make test` leaves out what is marked `faults`.
"""

import contextlib
import datetime
import itertools
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, Aggregator, Info, RunConfig, Spec, grid
from byzsim.experiments import cli, records
from byzsim.experiments.errors import Incomplete, UserError
from byzsim.experiments.plan import override, runs
from byzsim.experiments.records import provenance
from byzsim.experiments.run import devices, display, recorder, session
from byzsim.experiments.run.checkpoints import Checkpoint, Checkpoints
from byzsim.experiments.tables import TABLES
from byzsim.grid import Snapshot

CONFIG = {"rules": ("mean",), "attacks": ("gaussian", "alie"), "epochs": 10}  # three runs of one program, in two
# batches; two records do not leave room for a third in the file's last block of 4 kB
CHANGING = ("time", "seconds", "commit", "dirty")  # somebody may be at work in the checkout
ROOT = Path(__file__).parent.parent


def smoke(folder, log=lambda line: None, **changes):
    changes = {name: value if isinstance(value, tuple) else (value,) for name, value in (CONFIG | changes).items()}
    settings = session.Settings(table="smoke", checkpoint=0)
    return session.run(runs(override(TABLES["smoke"], changes)), folder, settings, log=log)


def outcome(folder):
    """All that counts of the records, by run."""
    found = records.read(folder / "runs.jsonl", lambda line: None)
    assert len({r["id"] for r in found}) == len(found)
    return {r["id"]: {k: v for k, v in r.items() if k not in CHANGING} for r in found}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    smoke(folder)
    assert len(outcome(folder)) == 3 and not (folder / "checkpoints").exists()
    return outcome(folder)


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


class Hindrance:
    """Does something once a line with `words` is said, and keeps all that is said."""

    def __init__(self, words, act):
        self.words, self.act, self.lines = words, act, []

    def __call__(self, line):
        self.lines.append(line)
        if self.words in line and self.act:
            act, self.act = self.act, None
            act()

    @property
    def text(self):
        return "\n".join(self.lines)


# Going on


STATEFUL = {
    "model": "softmax",
    "m": 4,
    "batch": 4,
    "n_byz": 1,
    "epochs": 4,
    "rule": "centered_clipping",
    "attack": "delayed_gradient",
    "momentum": "ema",
    "optimizer": "adam",
}


@pytest.mark.slow
@pytest.mark.parametrize("devices_per_run", [1, 2])
def test_every_epoch_is_a_place_to_go_on_from_with_the_same_bits(world, tmp_path, devices_per_run):
    (group,) = grid.plan([RunConfig(**STATEFUL, seed=seed) for seed in (1, 2, 3)], world.source)
    kept = {}

    def run(dynamic, **how):
        devices = jax.devices()[:2]
        return grid.run(
            group.static,
            dynamic,
            world.train,
            world.test,
            epochs=4,
            devices=devices,
            devices_per_run=devices_per_run,
            **how,
        )

    whole = run(group.dynamic, on_state=lambda done, snapshots: kept.setdefault(done, []).extend(snapshots()))
    checkpoints = Checkpoints(tmp_path / "checkpoints", {}, pytest.fail)
    for done, found in kept.items():
        for i, snapshot in enumerate(found):
            checkpoints.save(str(i), Checkpoint(snapshot, 1.0))
        saved = [
            checkpoints.load(
                str(i),
                lambda epochs, dynamic=dynamic: grid.snapshot_spec(
                    group.static, dynamic, world.train, world.test, epochs
                ),
            )
            for i, dynamic in enumerate(group.dynamic)
        ]
        again = run(group.dynamic[::-1], resume=[one.snapshot for one in saved][::-1])[::-1]
        for one, other in zip(whole, again, strict=True):
            jax.tree.map(np.testing.assert_array_equal, one._asdict(), other._asdict())
        assert done == saved[0].snapshot.epochs
    with pytest.raises(ValueError, match="1 snapshots for 3 runs"):
        run(group.dynamic, resume=kept[1][:1])


@pytest.mark.slow
def test_a_diverged_run_that_goes_on_stops_as_it_would_have(world):
    doomed = {"model": "softmax", "m": 4, "batch": 4, "attack": "scaling", "attack_args": {"factor": 1e38}, "lr": 1e30}
    (group,) = grid.plan([RunConfig(**doomed, n_byz=1, epochs=5)], world.source)
    kept, done = [], []
    how = {"train": world.train, "test": world.test, "epochs": 5}
    (whole,) = grid.run(group.static, group.dynamic, **how, on_state=lambda _, snapshots: kept.extend(snapshots()))
    (again,) = grid.run(group.static, group.dynamic, **how, resume=kept[-1:], on_epoch=done.append)
    assert done == [] and again.diverged_epoch == whole.diverged_epoch == 1


def interrupted(folder):
    """A run stopped by Ctrl-C in the last run's sixth epoch; what it said last."""

    def stop(self, done):
        if done > 2.5:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)  # of the thread at work, until the main thread has heard

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(display.Display, "show", stop)
        with pytest.raises(KeyboardInterrupt) as stopped:
            smoke(folder)
    return str(stopped.value)


@pytest.mark.slow
def test_ctrl_c_says_what_is_saved_and_the_next_start_goes_on(undisturbed, tmp_path):
    said = interrupted(tmp_path)
    assert "Recorded: 2 of 3 runs. Saved: mean, alie, alpha 0.2, seed 0 after epoch 5 of 10 (" in said
    assert "The same command continues" in said
    watch = Hindrance("", None)
    smoke(tmp_path, watch)
    assert "continuing with mean, alie, alpha 0.2, seed 0 after epoch 5 of 10 (" in watch.text
    assert outcome(tmp_path) == undisturbed and not (tmp_path / "checkpoints").exists()


def test_a_corrupt_checkpoint_falls_back_to_the_one_before(undisturbed, tmp_path):
    interrupted(tmp_path)
    last = max((tmp_path / "checkpoints").iterdir())
    flip(last)
    watch = Hindrance("", None)
    smoke(tmp_path, watch)
    assert "after epoch 5 of 10" in watch.text and f"checkpoint {last} is corrupt" in watch.text
    assert outcome(tmp_path) == undisturbed


# Checkpoints


def snapshot(epochs=2):
    return Snapshot({"params": np.arange(4, dtype=np.float32), "step": np.int32(epochs)}, {"loss": np.zeros(epochs)})


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Two checkpoints of run abc, and what is said."""
    monkeypatch.setattr(Snapshot, "epochs", property(lambda self: len(self.measured["loss"])))
    watch = Hindrance("", None)
    checkpoints = Checkpoints(tmp_path / "checkpoints", {"jax": "1"}, watch)
    for epochs in (1, 2, 3):
        checkpoints.save("abc", Checkpoint(snapshot(epochs), 1.5 * epochs))
    return checkpoints


def load(checkpoints):
    saved = checkpoints.load("abc", snapshot)
    return saved and (saved.snapshot.epochs, saved.seconds)


def test_two_checkpoints_are_kept_of_a_run_and_none_once_it_is_recorded(kept):
    assert sorted(path.name for path in kept.folder.iterdir()) == ["abc.000002.msgpack", "abc.000003.msgpack"]
    assert load(kept) == (3, 4.5) and kept.epochs() == {"abc": 3}
    assert kept.size() == sum(path.stat().st_size for path in kept.folder.iterdir()) <= kept.peak_bytes
    kept.drop({"abcd"})
    assert load(kept) == (3, 4.5)
    kept.drop({"abc"})
    assert not kept.folder.exists() and load(kept) is None and kept.size() == 0


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


BROKEN = {
    "flipped bit": (flip, "is corrupt"),
    "torn": (lambda path: os.truncate(path, 100), "is corrupt"),
    "empty": (lambda path: path.write_bytes(b""), "is corrupt"),
    "another run's": (
        lambda path: path.write_bytes(path.with_name("abd.000003.msgpack").read_bytes()),
        "belongs to another run, abd",
    ),
}


@pytest.mark.parametrize(("harm", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_checkpoint_is_never_used(kept, harm, words):
    kept.save("abd", Checkpoint(snapshot(3), 9.0))
    last = kept.folder / "abc.000003.msgpack"
    harm(last)
    assert load(kept) == (2, 3.0)
    assert words in kept.log.text and str(last) in kept.log.text and not last.exists()


def test_a_checkpoint_of_other_versions_or_shapes_is_not_used(kept):
    kept.environment = {"jax": "2"}
    assert load(kept) is None and "was made with jax 1, not 2" in kept.log.text
    kept.save("abc", Checkpoint(snapshot(3), 1.0))
    other = Snapshot({"params": np.zeros(5, np.float32), "step": np.int32(0)}, {"loss": np.zeros(3)})
    assert kept.load("abc", lambda epochs: other) is None and "shapes" in kept.log.text


def test_checkpoints_of_other_runs_are_said_with_their_size(undisturbed, tmp_path):
    interrupted(tmp_path)
    watch = Hindrance("", None)
    smoke(tmp_path, watch, seeds=(1,), attacks=("gaussian",), alphas=(0.0,))
    assert "also has checkpoints of 1 run that this command does not include (" in watch.text
    smoke(tmp_path)
    assert undisturbed.items() <= outcome(tmp_path).items() and not (tmp_path / "checkpoints").exists()


# Disks and folders


def fill(place):
    with (place / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(512))


def test_a_full_disk_ends_with_what_is_not_recorded_and_harms_nothing(undisturbed, disk, monkeypatch):
    monkeypatch.setattr(recorder, "WRITE_RETRY_SECONDS", 0.6)
    folder = disk / "results"
    watch = Hindrance("[2/3]", lambda: fill(disk))
    with pytest.raises(Incomplete, match=r"No space left.*not recorded: mean, alie, .*same command continues"):
        smoke(folder, watch)
    assert "cannot write checkpoints" in watch.text and "retrying" in watch.text
    assert outcome(folder).items() < undisturbed.items() and len(outcome(folder)) == 2
    fill(disk)
    with pytest.raises(UserError, match="No space left"):
        smoke(folder)
    (disk / "filler").unlink()
    smoke(folder)
    assert outcome(folder) == undisturbed


def test_a_disk_that_is_emptied_in_time(undisturbed, disk):
    folder = disk / "results"
    watch = Hindrance("[2/3]", lambda: fill(disk))
    smoke(folder, lambda line: (watch(line), "retrying" in line and (disk / "filler").unlink()))
    assert outcome(folder) == undisturbed


def test_a_disk_that_becomes_read_only(undisturbed, disk, monkeypatch):
    monkeypatch.setattr(recorder, "WRITE_RETRY_SECONDS", 0.6)

    def protect():  # by a second mount in front, as the lock file is open in the first
        subprocess.run(["mount", "--bind", disk, disk], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)

    with pytest.raises(Incomplete, match="Read-only file system"):
        smoke(disk / "results", Hindrance("[2/3]", protect))
    with pytest.raises(UserError, match="Read-only file system"):
        smoke(disk / "results")
    subprocess.run(["umount", disk], check=True)
    smoke(disk / "results")
    assert outcome(disk / "results") == undisturbed


def test_a_folder_that_vanishes_and_comes_back(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "WRITE_RETRY_SECONDS", 0.6)
    here, there = tmp_path / "results", tmp_path / "elsewhere"
    with pytest.raises(Incomplete, match=r"No such file.*not recorded: mean, alie"):
        smoke(here, Hindrance("[2/3]", lambda: here.rename(there)))
    assert not here.exists() and len(outcome(there)) == 2
    there.rename(here)
    smoke(here)
    assert outcome(here) == undisturbed


def test_a_write_that_stops_half_way_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "runs.jsonl"
    records.append(path, [{"n": 1}])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(Incomplete, match="File too large"):
            records.append(path, [{"n": 2, "long": "x" * 2000}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == '{"n": 1}\n'


def test_a_torn_last_line_is_cut_off_before_the_next_record(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"n": 1}\n{"n": 2, "lo')
    records.append(path, [{"n": 3}])
    assert path.read_text() == '{"n": 1}\n{"n": 3}\n'


def test_a_clock_that_jumps_back_decides_nothing(undisturbed, tmp_path, monkeypatch):
    class Backwards(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(next(hours), tz)

    hours = itertools.count(1_700_000_000, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(hours)))
    monkeypatch.setattr(provenance, "datetime", Backwards)
    smoke(tmp_path)
    assert outcome(tmp_path) == undisturbed
    assert all(0 <= r["seconds"] < 600 for r in records.read(tmp_path / "runs.jsonl"))


# Two at once


def test_two_runs_of_one_table_are_refused_with_the_holders_process(tmp_path):
    refused = pytest.raises(UserError, match=rf"in use by process {os.getpid()}, started 20.*--results FOLDER")
    with records.exclusive(tmp_path), refused:
        smoke(tmp_path)
    smoke(tmp_path, attacks=("gaussian",), alphas=(0.0,))


@pytest.mark.slow
def test_a_crash_leaves_no_lock(tmp_path):
    code = """
import os, pathlib, signal, sys
from byzsim.experiments import records
with records.exclusive(pathlib.Path(sys.argv[1])):
    (pathlib.Path(sys.argv[1]) / ".runs.jsonl.1.part").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL and (tmp_path / ".holder").exists()
    with records.exclusive(tmp_path):
        assert not list(tmp_path.glob("*.part"))


# Runs that fail


def fussy():
    """The mean, which breaks at rows that are not finite or large."""

    def check(rows):
        if not (np.abs(rows) < 1e3).all():
            raise FloatingPointError("these rows are too much")
        return np.float32(0)

    def apply(rows, state, ctx):
        zero = jax.pure_callback(check, jax.ShapeDtypeStruct((), jnp.float32), rows)
        return rows.mean(axis=0) + zero, state, Info(jnp.full(len(rows), 1 / len(rows)))

    return Aggregator(lambda m, d: (), apply)


@pytest.mark.slow
def test_a_run_that_fails_is_recorded_with_its_reason_and_the_rest_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(AGGREGATORS, "fussy", Spec(fussy, source="here", digest="0"))
    command = ["run", "smoke", "--rules", "fussy", "--epochs", "3", "--options", "gaussian.sigma=1e6"]
    command += ["--attacks", "gaussian", "alie"]
    for start in (1, 2):
        assert cli.main([*command, "--results", str(tmp_path)]) == 1
        (folder,) = tmp_path.iterdir()
        assert [r["attack"] for r in records.read(folder / "runs.jsonl")] == ["none", "alie"]
        failed = records.read(folder / "failures.jsonl", fields=frozenset({"id", "failed", "traceback"}))
        assert [r["attack"] for r in failed] == ["gaussian"] * start  # tried again by each start
        assert "these rows are too much" in failed[0]["traceback"]
        out, err = capsys.readouterr()
        assert "gaussian, alpha 0.2, seed 0: FAILED" in out
        assert err.startswith("byzsim: 1 run failed; all other runs are recorded") and "failures.jsonl" in err
    assert "gaussian" not in (folder / "runs.jsonl").read_text()


@pytest.mark.faults
def test_where_all_runs_fail_there_still_is_an_end(tmp_path, monkeypatch, capsys):
    def check(rows):
        return np.float32(1 // (rows.shape[0] - rows.shape[0]))

    def broken():
        def apply(rows, state, ctx):
            return (
                rows[0] + jax.pure_callback(check, jax.ShapeDtypeStruct((), jnp.float32), rows),
                state,
                Info(rows[:, 0]),
            )

        return Aggregator(lambda m, d: (), apply)

    monkeypatch.setitem(AGGREGATORS, "broken", Spec(broken, source="here", digest="0"))
    assert cli.main(["run", "smoke", "--rules", "broken", "--results", str(tmp_path)]) == 1
    assert "3 runs failed" in capsys.readouterr().err
    (folder,) = tmp_path.iterdir()
    assert "ZeroDivisionError" in (folder / "failures.jsonl").read_text()


def test_out_of_memory_halves_the_chunk_and_the_record_says_so(undisturbed, tmp_path, monkeypatch):
    real, tried = grid.run, []

    def tight(*args, runs_per_device, **how):
        tried.append(runs_per_device)
        if runs_per_device > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 16457280000 bytes.")
        return real(*args, runs_per_device=None, **how)  # whose program is there already

    monkeypatch.setattr(devices, "planned_runs_per_device", lambda *_: 4)
    monkeypatch.setattr(devices, "lanes", lambda per_run: (jax.devices()[:1], 1))  # two lanes would try in any order
    monkeypatch.setattr(grid, "run", tight)
    watch = Hindrance("", None)
    smoke(tmp_path, watch)
    assert tried[:3] == [4, 2, 1] and "out of memory: from now on each device runs 1 at once" in watch.text
    same = {id: r | {"mode": "1 runs under vmap, halved 2 times as memory ran out"} for id, r in undisturbed.items()}
    assert outcome(tmp_path) == same and not (tmp_path / "failures.jsonl").exists()


@pytest.mark.faults
def test_memory_that_really_runs_out_costs_one_run(tmp_path):
    code = """
import resource, sys
import jax, jax.numpy as jnp
from byzsim.experiments import cli
from byzsim import AGGREGATORS, Aggregator, RunConfig, Spec, Info
def greedy():
    def apply(rows, state, ctx):
        far = ctx.step + jnp.arange(100_000.0)
        crowd = jnp.sort(jnp.sin(far[:, None] * far), axis=0)[::7].sum()  # 40 GB
        return rows.mean(axis=0) + crowd, state, Info(jnp.full(len(rows), 1 / len(rows)))
    return Aggregator(lambda m, d: (), apply)
AGGREGATORS["greedy"] = Spec(greedy, source="here", digest="0")
resource.setrlimit(resource.RLIMIT_AS, (20 * 10**9,) * 2)
where = ["--alphas", "0", "--epochs", "1", "--results", sys.argv[1]]
sys.exit(cli.main(["run", "smoke", "--rules", "greedy", "mean", "--attacks", "alie", *where]))
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    (folder,) = tmp_path.iterdir()
    assert [r["rule"] for r in records.read(folder / "runs.jsonl")] == ["mean"]
    assert "RESOURCE_EXHAUSTED" in (folder / "failures.jsonl").read_text()


# Real processes, killed and stopped


TABLE = ["smoke", "--rules", "centered_clipping", "safeguard", "--attacks", "delayed_gradient", "alie"]
TABLE += ["--alphas", "0.2", "--model", "mlp", "--momentum", "ema", "--optimizer", "adam", "--lr", "0.01"]
TABLE += ["--epochs", "25"]


def start(folder, *options):
    command = [sys.executable, "-m", "byzsim.experiments", "run", *TABLE, "--results", str(folder), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(folder):
    (inside,) = folder.iterdir()
    return outcome(inside)


def half_written(folder):
    """Is a checkpoint or a report being written?"""
    return any(".part" in name for where, _, names in os.walk(folder) for name in names)


def interrupt(process, how, moment):
    """Send the signal after `moment` seconds; what the process said last."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    process.send_signal(how)
    return process.communicate()[1]


def interrupt_write(process, how, folder, writes):
    """Send the signal as soon as `writes` files have been seen half-written; what the process said last."""
    seen, before = 0, False
    while process.poll() is None and seen < writes:
        now = half_written(folder)
        seen, before = seen + (now and not before), now
    process.send_signal(how)
    return process.communicate()[1]


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_at_twenty_moments_the_records_are_those_of_an_undisturbed_run(how, tmp_path):
    """Every second moment is inside a write, as far as one can be met; a table that is done gives way to a new one."""
    draw = random.Random(int(how))
    for name in ("compiled", "timed"):
        began = time.monotonic()
        process = start(tmp_path / name, "--checkpoint", "0")
        err = process.communicate()[1]
        assert process.returncode == 0, err
        lifetime = time.monotonic() - began
    expected = results(tmp_path / "timed")
    assert len(expected) == 4 and results(tmp_path / "compiled") == expected
    earliest = 0.5 if how == signal.SIGKILL else 0.2 * lifetime  # a Ctrl-C before byzsim's first line is Python's own
    stopped, torn, tables = 0, 0, 0
    while stopped < 20 or process.returncode:
        folder = tmp_path / f"table{tables}"
        process = start(folder, "--checkpoint", "0")
        if stopped >= 20:
            err = process.communicate()[1]
        elif stopped % 2:
            err = interrupt_write(process, how, folder, draw.randint(1, 8))
        else:
            err = interrupt(process, how, draw.uniform(earliest, lifetime))
        if process.returncode == 0:
            assert results(folder) == expected
            tables += 1
        else:
            assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[how], err
            assert how == signal.SIGKILL or ("Traceback" not in err and "same command continues" in err)
            stopped += 1
            torn += half_written(folder)
    assert tables and results(tmp_path / f"table{tables - 1}") == expected
    assert how == signal.SIGINT or torn >= 3
    print(f"{how.name}: {stopped} stops, {torn} inside a write, over {tables} tables")


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_an_epoch_that_takes_hours(tmp_path):
    code = """
import sys, time
import jax, jax.numpy as jnp, numpy as np
from byzsim.experiments import cli
from byzsim import AGGREGATORS, Aggregator, RunConfig, Spec, Info
def sleepy():
    def sleep(step):
        if step == 2:
            print("asleep", flush=True)
            time.sleep(3600)
        return np.float32(0)
    def apply(rows, state, ctx):
        zero = jax.pure_callback(sleep, jax.ShapeDtypeStruct((), jnp.float32), ctx.step)
        return rows.mean(axis=0) + zero, state, Info(jnp.full(len(rows), 1 / len(rows)))
    return Aggregator(lambda m, d: (), apply)
AGGREGATORS["sleepy"] = Spec(sleepy, source="here", digest="0")
sys.argv[1:] = ["run", "smoke", "--rules", "sleepy", "--alphas", "0", "--results", sys.argv[1]]
cli.script()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "asleep" not in (line := process.stdout.readline()):
        assert line, process.communicate()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Recorded: 0 of 1 runs. Saved: nothing of the unfinished runs. The same command continues" in err
