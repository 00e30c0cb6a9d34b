"""Executes recorded runs again, as `byzsim run` does, and compares them with their records."""

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from byzsim import RunConfig
from byzsim.experiments import records
from byzsim.experiments.errors import UserError
from byzsim.experiments.records import Record, diff
from byzsim.experiments.run import session

TOLERANCE = 5.0  # points of final accuracy, where bits are not promised; docs/reproducibility.md
DECIDING = ("jax", "jaxlib", "flax", "optax", "numpy")  # versions that may move bits


class Verdict(NamedTuple):
    """The comparison of one recorded run with its repetition."""

    key: records.RunKey
    agrees: bool
    words: str


def sample(found: Sequence[Record], size: int, seed: int) -> list[Record]:
    """Draw records uniformly without replacement; the same seed draws the same records."""
    ordered = sorted(found, key=lambda each: each["id"])
    return random.Random(seed).sample(ordered, min(size, len(ordered)))


def verify(chosen: Sequence[Record], settings: session.Settings, log: Callable[[str], object] = print) -> list[Verdict]:
    """Execute the runs of these records again, in a folder of their own, and compare.

    Raises:
        UserError: for anything that cannot be executed, before anything is compiled.
    """
    wanted, further = [_run_of(each) for each in chosen], settings.further
    with tempfile.TemporaryDirectory() as scratch:
        session.run(wanted, Path(scratch), settings, log=log)
        again = {records.key_of(each, further): each for each in records.read(Path(scratch) / "runs.jsonl", log)}
    keys = [records.key_of(each, further) for each in chosen]
    return [judge(each, again.get(key), key) for each, key in zip(chosen, keys, strict=True)]


def _run_of(found: Record) -> tuple[str, RunConfig]:
    run_config = records.config_of(found)
    if run_config is None:
        raise UserError(f"{records.label(records.key_of(found))}: this version has no such run")
    return found["data"], run_config


def judge(old: Record, new: Record | None, key: records.RunKey) -> Verdict:
    """Compare bit for bit where that is promised, else by the recorded numbers or within `TOLERANCE`."""
    if new is None:
        return Verdict(key, False, "FAILED when executed again")
    kind, why = diff.verdict(old, new), _not_promised(old, new)
    if kind == diff.BITS:
        return Verdict(key, True, f"same bits ({new['digest']})")
    if kind == diff.ROUNDED and "digest" not in old:
        return Verdict(key, True, "same recorded numbers; the record has no digest, so bits cannot be compared")
    if why:
        return Verdict(key, _near(old, new), f"{_difference(old, new)}; bits are not promised: {', '.join(why)}")
    return Verdict(key, False, f"DIFFERENT: {_difference(old, new)}")


def _not_promised(old: Record, new: Record) -> list[str]:
    """The differences in what bits depend on; bits do not depend on the number of devices."""
    why = [f"{name} {old['versions'].get(name)} -> {new['versions'][name]}" for name in DECIDING
           if old["versions"].get(name) != new["versions"][name]]  # fmt: skip
    modes = old.get("mode", "mode not recorded"), new["mode"]
    devices = tuple(each["device"].partition(" x ")[2] for each in (old, new))
    why += [f"{a} -> {b}" for a, b in (modes, devices) if a != b]
    return why + ([modes[0]] if "under vmap" in modes[0] == modes[1] else []) + records.changes(old, new)


def _near(old: Record, new: Record) -> bool:
    """Whether both diverged, or final accuracies are within `TOLERANCE`; losses within that many percent."""
    a, b = map(diff.final, (old, new))
    allowed = TOLERANCE if "accuracy" in old else abs(a) * TOLERANCE / 100
    return bool(old["diverged"] and new["diverged"]) or abs(a - b) <= allowed


def _difference(old: Record, new: Record) -> str:
    a, b = map(_final, (old, new))
    first = diff.first_difference(old, new)
    if first is None:
        return f"recorded {a}, now {b}; only digits beyond the recorded ones differ"
    return f"recorded {a}, now {b}; they first differ in epoch {first.epoch}: {', '.join(first.fields)}"


def _final(found: Record) -> str:
    if found["diverged"]:
        return "diverged"
    return f"{diff.final(found):.2f} %" if "accuracy" in found else f"loss {diff.final(found):.6g}"
