"""Recorded runs, repeated by the same ways and compared with their records."""

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from byzsim import RunConfig
from byzsim.experiments import records
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import Config, Table
from byzsim.experiments.records import Record, diff
from byzsim.experiments.run import session

TOLERANCE = 5.0  # points of final accuracy, where bits are not promised; docs/reproducibility.md
DECIDING = ("jax", "jaxlib", "flax", "optax", "numpy")  # versions that may move bits


class Verdict(NamedTuple):
    """What became of one recorded run."""

    place: records.Place
    agrees: bool
    words: str


def sample(found: Sequence[Record], size: int, seed: int) -> list[Record]:
    """So many of the records, each as likely as any other; the same ones for the same seed."""
    ordered = sorted(found, key=lambda each: each["id"])
    return random.Random(seed).sample(ordered, min(size, len(ordered)))


def verify(
    table: Table,
    config: Config,
    chosen: Sequence[Record],
    *,
    data_dir: Path | None = None,
    quick: bool = False,
    say: Callable[[str], object] = print,
) -> list[Verdict]:
    """Run the runs of these records again, all in one run of their own, and compare.

    Raises:
        UserError: for anything that cannot be run, before anything is compiled.
    """
    these = [_run_config(each) for each in chosen]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        session.run(table, config, folder, these=these, quick=quick, data_dir=data_dir, say=say)
        again = {records.place(each): each for each in records.read(folder / "runs.jsonl", say)}
    return [judge(each, again.get(records.place(each))) for each in chosen]


def _run_config(found: Record) -> RunConfig:
    run_config = records.run_config_of(found)
    if run_config is None:
        raise UserError(f"{records.label(records.place(found))}: there is no such run any more")
    return run_config


def judge(old: Record, new: Record | None) -> Verdict:
    """Bit for bit where that is promised, else by the recorded numbers or within `TOLERANCE`."""
    where = records.place(old)
    if new is None:
        return Verdict(where, False, "FAILED when run again")
    kind, why = diff.verdict(old, new), _not_promised(old, new)
    if kind == diff.BITS:
        return Verdict(where, True, f"same bits ({new['digest']})")
    if kind == diff.ROUNDED and "digest" not in old:
        return Verdict(where, True, "same recorded numbers; the record has no digest, so bits cannot be compared")
    if why:
        return Verdict(where, _near(old, new), f"{_apart(old, new)}; bits are not promised: {', '.join(why)}")
    return Verdict(where, False, f"DIFFERENT: {_apart(old, new)}")


def _not_promised(old: Record, new: Record) -> list[str]:
    """What differs of all that bits depend on; the number of devices is not of it."""
    why = [f"{name} {old['versions'].get(name)} -> {new['versions'][name]}" for name in DECIDING
           if old["versions"].get(name) != new["versions"][name]]  # fmt: skip
    modes = old.get("mode", "mode not recorded"), new["mode"]
    devices = tuple(each["device"].partition(" x ")[2] for each in (old, new))
    why += [f"{a} -> {b}" for a, b in (modes, devices) if a != b]
    return why + ([modes[0]] if "under vmap" in modes[0] == modes[1] else []) + records.changes(old, new)


def _near(old: Record, new: Record) -> bool:
    a, b = old["final_accuracy"], new["final_accuracy"]
    return a is b is None or (None not in (a, b) and abs(100 * (a - b)) <= TOLERANCE)


def _apart(old: Record, new: Record) -> str:
    a, b = ("diverged" if each["diverged"] else f"{100 * each['final_accuracy']:.2f} %" for each in (old, new))
    where = diff.parting(old, new)
    if where is None:
        return f"recorded {a}, now {b}; only digits that records do not have differ"
    return f"recorded {a}, now {b}; they part in epoch {where.epoch}: {', '.join(where.fields)}"
