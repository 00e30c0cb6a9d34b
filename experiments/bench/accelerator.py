"""The benchmark of an accelerator: a whole table, training steps, and the memory bandwidth of each rule."""

import contextlib
import dataclasses
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import AGGREGATORS, Data, RunConfig, grid
from byzsim.experiments import arguments, records
from byzsim.experiments.bench import steps
from byzsim.experiments.bench.environment import Peer
from byzsim.experiments.bench.measure import Failed
from byzsim.experiments.bench.scaling import command_line
from byzsim.experiments.bench.worker import Facts, aggregation, parsed, repeated
from byzsim.experiments.datasets import load
from byzsim.experiments.errors import UserError, counted, unknown
from byzsim.experiments.files import markdown_table, write_whole
from byzsim.experiments.plan import override, runs
from byzsim.experiments.run.devices import cores, planned_runs_per_device
from byzsim.experiments.tables import TABLES

AIMS = {"table": 60.0, "training": 10.0, "bandwidth": 0.5}
"""table: seconds, after compilation; training: multiple of byzfl's speed; bandwidth: fraction of a device copy's"""
SETTINGS = {setting.title: setting for setting in steps.SETTINGS}
N_CLASSES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accelerator:
    """BrSGD's Table 1 in one process, training steps of a convolutional model, and the bandwidth of each rule."""

    parts: tuple[Literal["table", "training", "bandwidth"], ...] = ("table", "training", "bandwidth")
    """parts of the benchmark"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """seeds of the table"""
    alphas: tuple[float, ...] = (0.0, 0.10, 0.25, 0.50)
    """of the table: the paper's own, 52 runs"""
    table_steps: int | None = None
    """steps in an epoch of the table; None: the whole shard"""
    random_data: bool = False
    """use random images for the table, as also happens if the data set is unavailable; the time is the same"""
    model: str = "resnet20"
    """model of the training steps, on random images of the size of CIFAR-10 (of MNIST for lenet)"""
    m: int = 10
    batches: tuple[int, ...] = (10, 32)
    """samples in a worker's batch"""
    setting: str = "trimmed mean, ALIE"
    """rule and attack of the training steps, by the title of a setting of `byzsim bench`"""
    n_byz: int = 2
    runs: int = 16
    """largest number of runs that train at once; fewer if the memory does not hold them"""
    steps: int = 50
    """timed steps in each of three epochs"""
    rules: tuple[str, ...] = ()
    """rules whose bandwidth is measured; default: all"""
    rows: int = 16
    """rows of the matrix"""
    coordinates: int = 10_000_000
    repeats: int = 20
    """timed calls of each rule"""
    precision: Literal["highest", "tensorfloat32", "bfloat16"] = "highest"
    """precision of the models' matrix products; means and distances are always in float32"""
    peer_python: Path | None = None
    """a Python with byzfl and torch, such as .bench-env/bin/python; without it byzfl is not measured"""
    quick: bool = False
    """run every step at toy sizes, in a folder of its own"""
    results: Path = Path("results")
    """the folder that holds all results folders"""


QUICK: dict[str, Any] = {
    "seeds": (0,),
    "alphas": (0.25,),
    "table_steps": 1,
    "random_data": True,
    "model": "softmax",
    "m": 4,
    "batches": (2,),
    "n_byz": 1,
    "runs": 2,
    "steps": 2,
    "rules": ("mean", "krum"),
    "rows": 4,
    "coordinates": 100,
    "repeats": 2,
}


def command(args: list[str], log: Callable[[str], object]) -> None:
    """`byzsim bench accelerator`."""
    default = Accelerator(**QUICK, quick=True) if "--quick" in args else Accelerator()
    given = arguments.parse_args(Accelerator, args, default=default, prog="byzsim bench accelerator")
    _check(given)
    folder = given.results / ("bench+quick" if given.quick else "bench")
    records.check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack, jax.default_matmul_precision(given.precision):
        peer = stack.enter_context(_peer(given.peer_python)) if given.peer_python else None
        for found in measure(given, peer, log):
            write(found, given, folder)  # after each part: a lent accelerator may be taken back
    log(f"written: {folder}/{_name()}.json, .md")


def _check(given: Accelerator) -> None:
    if not given.batches:
        raise UserError("--batches needs at least one number")
    counts = (given.m, *given.batches, given.runs, given.steps, given.rows, given.coordinates, given.repeats)
    if min(counts) < 1:
        raise UserError("numbers of workers, samples, runs, steps, rows, coordinates and calls have to be above 0")
    if given.setting not in SETTINGS:
        raise unknown("setting", given.setting, SETTINGS)
    try:
        for text in given.rules:
            parsed(text)
        _trained(given, given.batches[0])
    except ValueError as error:
        raise UserError(str(error)) from None


def _peer(python: Path) -> Peer:
    return Peer(python, threads=cores(), wait="default", limited=_place() == "cpu")


def _place() -> str | None:
    """torch's name of our device; None if torch cannot use it."""
    return {"gpu": "cuda:0", "cpu": "cpu"}.get(jax.default_backend())


def measure(given: Accelerator, peer: Peer | None, log: Callable[[str], object]) -> Iterator[Facts]:
    """The results so far with their origin, as JSON values: after each part, and after each batch of the training."""
    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("bytes_limit")
    found: Facts = {"origin": records.origin(), "device": device.device_kind, "platform": device.platform}
    plain = {key: str(v) if isinstance(v, Path) else v for key, v in dataclasses.asdict(given).items()}
    found |= {"memory": memory, "given": plain, "aims": AIMS, "peers": peer and peer.versions}
    if "table" in given.parts:
        found["table"] = table(given, log)
        yield found
    for batch in given.batches if "training" in given.parts else ():
        found["training"] = [*found.get("training", ()), training(given, batch, peer, log)]
        yield found
    if "bandwidth" in given.parts:
        found["bandwidth"] = bandwidth(given, log)
        yield found


# ---------------------------------------------------------------------------------------------------------
# Measuring
# ---------------------------------------------------------------------------------------------------------


def table(given: Accelerator, log: Callable[[str], object]) -> Facts:
    """BrSGD's Table 1, every run, in this process: programs one after another, their runs side by side.

    Every program first does one epoch, which compiles it; then the whole table is timed from its first epoch on.
    """
    changes: dict[str, Sequence[Any]] = {"seeds": given.seeds, "alphas": given.alphas, "steps": (given.table_steps,)}
    if given.quick:
        changes |= {"model": ("softmax",), "m": (4,), "rules": ("mean",), "attacks": ("gaussian",), "epochs": (2,)}
    asked = override(TABLES["brsgd_table1"], changes)
    train, test, source = _table_data(given, asked.base["data"], log)
    devices, groups = jax.devices(), grid.plan([config for _, config in runs(asked)], grid.source_of(train, N_CLASSES))
    start = time.perf_counter()
    per_device = [planned_runs_per_device(group, train, test, devices) for group in groups]

    def all_of_it(epochs: int) -> float:
        began = time.perf_counter()
        for group, runs_per_device in zip(groups, per_device, strict=True):
            grid.run(
                group.static,
                group.dynamic,
                train,
                test,
                epochs=epochs,
                devices=devices,
                runs_per_device=runs_per_device,
            )
        return time.perf_counter() - began

    all_of_it(1)
    compile_s = time.perf_counter() - start
    seconds, n_runs = all_of_it(asked.base["epochs"]), sum(len(group.runs) for group in groups)
    log(f"table: {n_runs} runs in {seconds:.1f} s, after {compile_s:.1f} s with compilation")
    return {
        "runs": n_runs,
        "programs": len(groups),
        "runs_per_device": per_device,
        "epochs": asked.base["epochs"],
        "data": source,
        "first_s": compile_s,
        "seconds": seconds,
    }


def _table_data(given: Accelerator, name: str, log: Callable[[str], object]) -> tuple[Data, Data, str]:
    if not given.random_data:
        try:
            found = load(name, log=log)
            arrays = (found.train_inputs, found.train_labels, found.test_inputs, found.test_labels)
            train, test = Data(*map(jnp.asarray, arrays[:2])), Data(*map(jnp.asarray, arrays[2:]))
            return train, test, name
        except UserError as error:
            log(f"random images instead of {name}: {error}")
    n_train, n_test = (400, 20) if given.quick else (60_000, 10_000)
    return random_images(n_train, 28, 28), random_images(n_test, 28, 28), f"random images of the size of {name}"


def random_images(n: int, *shape: int) -> Data:
    """Random pixels, with labels in a cycle."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (n, *shape), dtype=np.uint8)
    return Data(jnp.asarray(images), jnp.asarray(np.arange(n) % N_CLASSES, jnp.uint8))


def training(given: Accelerator, batch: int, peer: Peer | None, log: Callable[[str], object]) -> Facts:
    """Steps per second of one run alone, of as many at once as memory and `runs` allow, and of byzfl.

    The median of the means of three epochs of `steps` steps, after an uncounted epoch; an epoch ends with an evaluation
    on 100 images.
    """
    n = given.m * batch * given.steps
    shape = (28, 28) if given.model == "lenet" else (8, 8, 3) if given.quick else (32, 32, 3)
    train, test = random_images(n, *shape), random_images(100, *shape)
    seeds = [dataclasses.replace(_trained(given, batch), seed=seed) for seed in range(given.runs)]
    (group,) = grid.plan(seeds, grid.source_of(train, N_CLASSES))
    device = jax.devices()[:1]
    runs_per_device = planned_runs_per_device(group, train, test, device)

    def rate(at_once: int, runs_per_device: int | None) -> Facts:
        marks: list[float] = []
        grid.run(
            group.static,
            group.dynamic[:at_once],
            train,
            test,
            epochs=4,
            devices=device,
            runs_per_device=runs_per_device,
            on_epoch=lambda _: marks.append(time.perf_counter()),
        )
        seconds = float(np.median(np.diff(marks)))
        return {
            "runs": at_once,
            "steps_per_s": given.steps / seconds,
            "run_steps_per_s": at_once * given.steps / seconds,
        }

    alone = rate(1, None)
    together = alone if runs_per_device in (None, 1) else rate(runs_per_device, runs_per_device)
    byzfl = _byzfl(given, batch, shape, peer)
    found = {"batch": batch, "alone": alone, "together": together, "byzfl": byzfl}
    many = f"{together['run_steps_per_s']:.3g} run steps/s with {together['runs']} at once"
    log(f"{given.model}, b = {batch}: {alone['steps_per_s']:.3g} steps/s alone, {many}; {_peer_words(byzfl)}")
    return found


def _trained(given: Accelerator, batch: int) -> RunConfig:
    run_config = SETTINGS[given.setting].run_config(batch, m=given.m, n_byz=given.n_byz, model=given.model)
    return dataclasses.replace(run_config, steps=given.steps, epochs=4)


def _byzfl(given: Accelerator, batch: int, shape: tuple[int, ...], peer: Peer | None) -> Facts:
    """Steps per second of byzfl on the same device, or why there are none.

    With products in full float32 precision, one step of both is compared first; with less precision they differ.
    """
    if peer is None:
        return {"skipped": "no --peer-python"}
    if (device := _place()) is None:
        return {"skipped": f"no torch on {jax.default_backend()}"}
    if given.model not in steps.MODELS:
        return {"skipped": f"only {', '.join(steps.MODELS)} are available for byzfl, not {given.model}"}
    setting, run_config = SETTINGS[given.setting], _trained(given, batch)
    tf32 = given.precision != "highest"
    try:
        with tempfile.TemporaryDirectory() as folder:
            if not tf32:
                images = steps.Images(batch, 1, given.m, shape)
                one_step = dataclasses.replace(run_config, steps=1)
                steps.check_step(peer, setting, one_step, images, Path(folder), device=device)
            images = steps.Images(batch, given.steps, given.m, shape)
            job = steps.step_job(setting, run_config, images, Path(folder), device=device, tf32=tf32)
            peer.run(job)
            return {"steps_per_s": given.steps / peer.run(job, repeat=given.steps)}
    except (Failed, UserError) as error:
        return {"skipped": str(error)}


def _peer_words(found: Facts) -> str:
    return f"byzfl {found['steps_per_s']:.3g} steps/s" if "steps_per_s" in found else f"skipped: {found['skipped']}"


def bandwidth(given: Accelerator, log: Callable[[str], object]) -> Facts:
    """Bytes per second of a copy (the matrix read and written) and of each rule (the matrix read once)."""
    m, d = given.rows, given.coordinates
    copy_ms = _copy_ms(m, d, given.repeats)
    copy = 2 * 4 * m * d / (copy_ms / 1000)
    log(f"copy: {copy / 1e9:.1f} GB/s")
    rules = []
    for rule in given.rules or tuple(AGGREGATORS):
        try:
            facts = aggregation(rule, m, d, given.repeats)
        except (ValueError, jax.errors.JaxRuntimeError) as error:
            rules.append({"rule": rule, "error": str(error).splitlines()[0]})
            continue
        achieved = 4 * m * d / (facts["ms"] / 1000)
        rules.append({"rule": rule, **facts, "bytes_per_s": achieved, "of_copy": achieved / copy})
        log(f"{rule}: {achieved / 1e9:.1f} GB/s, {achieved / copy:.0%} of a copy")
    return {"m": m, "d": d, "copy_ms": copy_ms, "copy_bytes_per_s": copy, "rules": rules}


def _copy_ms(m: int, d: int, repeats: int) -> float:
    """Milliseconds to copy a matrix over an old one, since allocating memory takes time on a CPU."""
    source, held = jnp.ones((m, d)), [jnp.zeros((m, d))]
    copied = jax.jit(lambda target, source: jnp.copy(source), donate_argnums=0, keep_unused=True)

    def copy() -> jax.Array:
        held.append(copied(held.pop(), source))
        return held[0]

    return repeated(copy, repeats)["ms"]


# ---------------------------------------------------------------------------------------------------------
# Record and page
# ---------------------------------------------------------------------------------------------------------


def _name() -> str:
    return "accelerator-" + re.sub(r"[^A-Za-z0-9]+", "-", jax.devices()[0].device_kind).strip("-")


def write(found: Facts, given: Accelerator, folder: Path) -> None:
    """Write accelerator-DEVICE.json and .md into `folder`."""
    write_whole(folder / f"{_name()}.json", (json.dumps(found, indent=1) + "\n").encode())
    write_whole(folder / f"{_name()}.md", page(found, given).encode())


def page(found: Facts, given: Accelerator) -> str:
    """The page with results and aims; the aims are for accelerators, so a CPU is not judged."""
    judged = found["platform"] != "cpu" and not given.quick
    memory = f", {found['memory'] / 1e9:.1f} GB for JAX" if found["memory"] else ""
    parts = [
        f"# On an accelerator: {found['device']}" + " (quick run, not a result)" * given.quick,
        records.provenance_line(command_line("accelerator", given), found["origin"]),
        f"Platform {found['platform']}{memory}. Matrix products of the models in precision "
        f'"{given.precision}"; means and distances always in float32.'
        + " The aims are for accelerators, so this CPU is not judged." * (found["platform"] == "cpu")
        + (f" byzfl {peers['byzfl']} with torch {peers['torch']}." if (peers := found["peers"]) else ""),
    ]
    writers = {"table": _table, "training": _rates, "bandwidth": _bandwidth}
    parts += [
        text for part, text_of in writers.items() if part in found for text in text_of(found[part], given, judged)
    ]
    return "\n\n".join(parts) + "\n"


def _table(table: Facts, given: Accelerator, judged: bool) -> list[str]:
    del given
    counts = sorted({count or 1 for count in table["runs_per_device"]})
    many = f"{counts[0]} to {counts[-1]} runs" if len(counts) > 1 else counted(counts[0], "run")
    return [
        "## BrSGD's Table 1 in one process",
        f"{table['runs']} runs of {table['epochs']} epochs in {table['programs']} programs, {many} "
        f"at once on each device, on {table['data']}: **{table['seconds']:.1f} s**"
        f"{_met(table['seconds'] <= AIMS['table'], judged)}. Before that {table['first_s']:.1f} s for compilation and "
        f"one epoch of each. Aim: {AIMS['table']:g} s for 52 cells and 3 seeds.",
    ]


def _met(met: bool, judged: bool) -> str:
    return (" (aim met)" if met else " (aim missed)") if judged else ""


def _rates(rates: Sequence[Facts], given: Accelerator, judged: bool) -> list[str]:
    rows = []
    for each in rates:
        alone, together, byzfl = each["alone"], each["together"], each["byzfl"]
        ratio = together["run_steps_per_s"] / byzfl["steps_per_s"] if "steps_per_s" in byzfl else None
        words = "–" if ratio is None else f"{ratio:.1f}{_met(ratio >= AIMS['training'], judged)}"
        steps = (f"{alone['steps_per_s']:.3g}", together["runs"], f"{together['run_steps_per_s']:.3g}")
        rows.append((each["batch"], *steps, _peer_words(byzfl), words))
    header = ("batch", "one run alone (steps/s)", "runs at once", "run steps/s", "byzfl", "ratio")
    return [
        f"## Training steps: {given.model}",
        f"m = {given.m}, {given.setting}, {given.n_byz} Byzantine workers, random images. Run "
        "steps: steps of all runs that train at once. Ratio: run steps per second over byzfl's steps per second on "
        f"the same device; aim: {AIMS['training']:g}."
        + " byzfl's products are in TF32, and its numbers are not compared."
        * (given.precision != "highest"),
        markdown_table(header, rows),
    ]


def _bandwidth(found: Facts, given: Accelerator, judged: bool) -> list[str]:
    del given
    rows = []
    for each in found["rules"]:
        if "error" in each:
            rows.append((each["rule"], "–", "–", each["error"]))
        else:
            share = f"{100 * each['of_copy']:.0f} %{_met(each['of_copy'] >= AIMS['bandwidth'], judged)}"
            rows.append((each["rule"], f"{each['ms']:.3g}", f"{each['bytes_per_s'] / 1e9:.1f}", share))
    matrix = f"{found['m']} x {found['d']:,} matrix of float32 ({4 * found['m'] * found['d'] / 1e9:.3g} GB)"
    return [
        "## Bandwidth",
        f"A {matrix}. A rule's bandwidth: the matrix read once, over the time of one call. A device copy's: the matrix "
        f"read and written, over its time: {found['copy_bytes_per_s'] / 1e9:.1f} GB/s. A rule that must read the "
        f"matrix k times shows at most 1/k of what it moves. Aim: {100 * AIMS['bandwidth']:.0f} % of the copy.",
        markdown_table(("rule", "ms", "GB/s", "of a copy"), rows),
    ]
