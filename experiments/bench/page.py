"""The page of a benchmark run: tables of ratios with their targets, and a figure of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from byzsim.experiments.files import markdown_table, write_whole
from byzsim.experiments.records import Record, provenance_line
from byzsim.experiments.report.figures import save
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MET, MISSED = "#0072B2", "#D55E00"  # Okabe and Ito's blue and vermilion
BUSY = 1.0  # processes that ran before the benchmark, on average over a minute
TITLES = {
    "steps": "Whole training steps, against byzfl",
    "gradients": "Per-worker gradients, against torch",
    "convolutions": "A user's nn.Conv on a CPU, against our own layers, XLA's convolutions and torch",
    "lanes": "Two lanes, against one run alone",
    "rules": "Rules",
}
EXPLAINED = {
    "steps": "One step of 20 workers (15 honest, 5 Byzantine) with LeNet on 28 x 28 images. Ours is an epoch of the "
    "program that `byzsim run` compiles, divided by its steps: shuffling, gathering of batches, gradients of the 15 "
    "honest workers (the attacks do not use the gradients of the other 5), rule, diagnostics, update, and evaluation "
    'on 20 test images. "N runs in N lanes, time for each": how `byzsim run` executes a table on a CPU, a run in each '
    'thread, all on one device; wall-clock time of a step of all runs, divided by their number. "One run alone": a '
    "single run that has all cores to itself. byzfl: its own "
    "training loop (`Client`, `ByzantineClient`, `Server`) with 15 honest clients, the same LeNet, batches prepared in "
    "memory in float32, and all cores for torch's threads. Before timing, one step of both from the same parameters on "
    "the same images has to give the same parameters (with Gaussian noise of standard deviation 0).",
    "gradients": "A (20, d) matrix of gradients of LeNet, d = 61,706, at the same parameters: ours as in the engine, "
    "torch.func.vmap(grad) with its result also as one matrix. The matrices have to agree within 1e-4 of the largest "
    "entry, or nothing is timed.",
    "convolutions": "A (20, d) matrix of gradients of a network written with Flax's `nn.Conv`, `nn.max_pool` and "
    "`nn.GroupNorm`, by the engine, one run on one device. LeNet on 28 x 28 images against our own layers; VGG (3 x 3 "
    "convolutions of 32, 32, 64, 64, 128 and 128 features) and ResNet-20 on 32 x 32 colour images against torch. A "
    "gradient of the peer must agree within 5 % of the largest entry (rounding chooses the side of a kink).",
    "lanes": "The same runs, at the same time in lanes, or one alone, which uses the idle cores for parts of a step.",
    "rules": "Only the aggregate of an (m, d) matrix, with declared f = m // 4. A read is a sum over the workers by a "
    "matrix product; the ratio to a read or to G @ G.T compares a rule with the least possible cost, and lower is "
    "better. The ratio to byzfl and torch is our speed relative to theirs, and higher is better. Where the definitions "
    "are the same, the aggregates have to agree within 1e-4 of the largest entry, or nothing is timed. byzfl gets the "
    "rows as one float32 tensor. A preaggregator is measured by its rows; a rule that uses the server's loss gets a "
    "linear one.",
}


def write(records: Sequence[Record], folder: Path) -> str:
    """Write README.md, bench.png and bench.svg into `folder` for the records of one run."""
    save(figure(records), folder / "bench")
    text = page(records)
    write_whole(folder / "README.md", text.encode())
    return text


def page(records: Sequence[Record]) -> str:
    """The page; every number comes from the records."""
    aims = [r for r in records if r["met"] is not None]
    missed = [r for r in aims if not r["met"]]
    parts = [
        "# Benchmark",
        _origin(records[0]),
        f"{len(aims) - len(missed)} of {len(aims)} targets are met.",
        "![Each measurement as a point, times better than its target; one for each shape](bench.png)",
        "Medians; the candidates of a comparison take turns within one run. Spread: the larger of both interquartile "
        "ranges, as a fraction of the median; n: samples, each a loop of at least 20 ms. `ours.jsonl` has every run.",
    ]
    for part, title in TITLES.items():
        own = [r for r in records if r["part"] == part]
        if own:
            parts += [f"## {title}", EXPLAINED[part], _table(own)]
    if missed:
        parts += ["## Missed", _table(sorted(missed, key=shortfall, reverse=True), part=True)]
    return "\n\n".join(parts) + "\n"


def shortfall(record: Record) -> float:
    """The factor by which the ratio misses the target; 1 at the target, larger is worse."""
    if record["sense"] == ">=":
        return record["target"] / max(record["ratio"], 1e-9)
    return record["ratio"] / record["target"]


def _origin(record: Record) -> str:
    peers = record["peers"]
    command = f"byzsim bench{' --quick' if record['quick'] else ''}"
    lines = [
        provenance_line(command, record),
        f"Started {record['date']}; on average {record['load']:.1f} processes ran in the minute before.",
    ]
    if peers:
        lines.append(
            f"Peers, in a separate environment with their published packages: torch {peers['torch']} with "
            f"{peers['threads']} threads (OpenMP's wait policy: {peers['wait']}, the faster one here), "
            f"byzfl {peers['byzfl']}, numpy {peers['numpy']}, Python {peers['python']}."
        )
        lines += [
            "byzfl imports torchvision for data sets that the benchmark does not use; since torchvision is not "
            "installed here, an empty stand-in module replaces it, and byzfl itself is unchanged."
        ] * peers["stand_in"]
    if record["load"] > BUSY:
        lines.append("**The machine was busy with other processes: ratios are rough.**")
    if record["quick"]:
        lines.append("**Quick run: few samples, one shape. Not a result.**")
    return " ".join(lines)


def _table(records: Iterable[Record], *, part: bool = False) -> str:
    header = ["what", "shape", "ours (ms)", "against", "its time (ms)", "ratio", "target", "", "spread", "n", "note"]
    rows = [[*([r["part"]] if part else []), *_row(r)] for r in records]
    return markdown_table([*(["part"] if part else []), *header], rows)


def _row(record: Record) -> list[str]:
    aim = "" if record["target"] is None else f"{'≥' if record['sense'] == '>=' else '≤'} {record['target']:g}"
    verdict = {None: "", True: "met", False: "**missed**"}[record["met"]]
    spread = "" if record["spread"] is None else f"{100 * record['spread']:.0f} %"
    numbers = [_number(record[key]) for key in ("ours_ms", "other_ms", "ratio")]
    n = "" if record["n"] is None else str(record["n"])
    what = [record["what"], record["shape"], numbers[0], record["other"], numbers[1], numbers[2]]
    return [*what, aim, verdict, spread, n, record["note"]]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def figure(records: Sequence[Record]) -> Figure:
    """Each comparison with a target as a point: by which factor it is better (right) or worse (left) than that."""
    aims = [r for r in records if r["met"] is not None]
    panels = [(part, [r for r in aims if r["part"] == part]) for part in TITLES]
    panels = [(part, own, sorted({_label(r) for r in own})) for part, own in panels if own]
    heights = [len(labels) + 0.6 for _, _, labels in panels] or [1.0]
    drawn = Figure(figsize=(9, 1.0 + 0.145 * sum(heights) + 0.32 * len(heights)), layout="constrained")
    axes = drawn.subplots(max(len(panels), 1), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (part, own, labels) in zip(axes, panels, strict=False):
        axis.set_title(TITLES[part], fontsize=9, weight="bold", loc="left")
        _panel(axis, own, labels)
    axes[-1].set_xlabel("times better than the target: circles at 1 or more, crosses below")
    return drawn


def _panel(axis: Axes, records: Sequence[Record], labels: Sequence[str]) -> None:
    axis.axvline(1, color="0.3", linewidth=1)
    for r in records:
        colour, marker = (MET, "o") if r["met"] else (MISSED, "X")
        axis.plot(1 / shortfall(r), labels.index(_label(r)), marker, color=colour, markersize=4.5, alpha=0.8)
    axis.set_yticks(range(len(labels)), labels, fontsize=6.5)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.set_xscale("log")
    axis.grid(color="0.92")
    axis.tick_params(length=2)


def _label(record: Record) -> str:
    return f"{record['what'].partition('(')[0]} / {record['other']}"
