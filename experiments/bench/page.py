"""The page of a benchmark run: tables of ratios with their targets, and a figure of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from byzsim.experiments.files import markdown_table, write_whole
from byzsim.experiments.records import Record, made_by
from byzsim.experiments.report.figures import save
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MET, MISSED = "#0072B2", "#D55E00"  # Okabe and Ito's blue and vermilion
BUSY = 1.0  # processes that ran before, on average over a minute
TITLES = {
    "steps": "Whole training steps, against byzfl",
    "gradients": "Per-worker gradients, against torch",
    "convolutions": "A user's nn.Conv on a CPU, against our own layers, XLA's convolutions and torch",
    "devices": "Two CPU devices, against one",
    "rules": "Rules",
    "attacks": "Attacks",
    "memory": "Memory of rules",
    "start": "Starting",
}
EXPLAINED = {
    "steps": "One step of 20 workers (15 honest, 5 Byzantine) with LeNet on 28 x 28 images. Ours is an epoch of the "
    "very program that `byzsim run` runs, divided by its steps: shuffling, gathering of batches, gradients of 15 "
    "workers (what the other 5 send does not depend on theirs), rule, diagnostics, update; the measurement on a test "
    'set of 20 images too. "N runs on N devices, time for each" is how `byzsim run` works through a grid on a CPU: '
    'wall clock of a step of all divided by their number. "One run alone" is the latency of a single run. byzfl is '
    "its own training loop (`Client`, `ByzantineClient`, `Server`) on 15 honest clients, with the same LeNet, batches "
    "cut and in float32 in memory beforehand, and all cores for torch's threads. Before timing, one step of both from "
    "the same parameters on the same images must give the same parameters (Gaussian noise with standard deviation "
    "0 in that check).",
    "gradients": "A (20, d) matrix of gradients of LeNet, d = 61,706, at the same parameters: ours as in the engine, "
    "torch.func.vmap(grad) with its result as one matrix too. Same numbers within 1e-4 of the largest, or nothing "
    "is timed.",
    "convolutions": "A (20, d) matrix of gradients of a network written with Flax's `nn.Conv`, `nn.max_pool` and "
    "`nn.GroupNorm`, by the engine, one run on one device. LeNet on 28 x 28 images against our own layers; VGG (3 x 3 "
    "convolutions of 32, 32, 64, 64, 128 and 128 features) and ResNet-20 on 32 x 32 colour images against torch. A "
    "gradient of the peer must agree within 5 % of the largest entry (rounding chooses the side of a kink).",
    "devices": "The same runs of a grid, on all CPU devices at once or one after another on the first, which may use "
    "idle cores for parts of a step.",
    "rules": "The aggregate alone of an (m, d) matrix, f = m // 4 declared. A read is a sum over the workers by a "
    "matrix product; ratios to a read or to G @ G.T say how far a rule is from the least it can cost, and lower is "
    "better. Against byzfl and torch the ratio says how many times as fast ours is. Where both define the same, "
    "the aggregates must agree within 1e-4 of the largest entry, or nothing is timed. byzfl gets the rows as one "
    "float32 tensor. A preaggregator is measured by its rows; a rule that asks for the server's loss gets a linear "
    "one.",
    "attacks": "The matrix that the rule sees (honest rows copied, m // 4 forged), from the honest work; in reads.",
    "memory": "Temporary and output bytes by XLA's own account (`memory_analysis`), in copies of the matrix.",
    "start": "Fresh processes. Compile time is XLA's, with caches empty before the first of two starts.",
}


def write(records: Sequence[Record], folder: Path) -> str:
    """README.md, bench.png and bench.svg in `folder` for the records of one run."""
    save(figure(records), folder / "bench")
    text = page(records)
    write_whole(folder / "README.md", text.encode())
    return text


def page(records: Sequence[Record]) -> str:
    """The whole page. Every number comes from the records."""
    aims = [r for r in records if r["met"] is not None]
    missed = [r for r in aims if not r["met"]]
    parts = [
        "# Benchmark",
        _origin(records[0]),
        f"{len(aims) - len(missed)} of {len(aims)} targets are met.",
        "![Each measurement as a point, times better than its target; one for each shape](bench.png)",
        "Medians; the sides of a comparison take turns within one run. Spread: the larger interquartile range of the "
        "two, as a share of its median; n: samples, each a loop of 20 ms at least. `ours.jsonl` has every run.",
    ]
    for part, title in TITLES.items():
        own = [r for r in records if r["part"] == part]
        if own:
            parts += [f"## {title}", EXPLAINED[part], _table(own)]
    if missed:
        parts += ["## Missed", _table(sorted(missed, key=shortfall, reverse=True), part=True)]
    return "\n\n".join(parts) + "\n"


def shortfall(record: Record) -> float:
    """How many times the ratio would have to change to meet the target; 1 at the target, more is worse."""
    if record["sense"] == ">=":
        return record["target"] / max(record["ratio"], 1e-9)
    return record["ratio"] / record["target"]


def _origin(record: Record) -> str:
    peers = record["peers"]
    command = f"byzsim bench{' --quick' if record['quick'] else ''}"
    lines = [
        made_by(command, record),
        f"Begun {record['date']}, with {record['load']:.1f} processes at work on average in the minute before.",
    ]
    if peers:
        lines.append(
            f"Peers, in an environment of their own from their published packages: torch {peers['torch']} with "
            f"{peers['threads']} threads (OpenMP's wait policy: {peers['wait']}, the faster here), "
            f"byzfl {peers['byzfl']}, numpy {peers['numpy']}, Python {peers['python']}."
        )
        lines += [
            "byzfl imports torchvision for data sets that are not loaded here; where it is not installed, as here, an "
            "empty stand-in module takes its place, and byzfl itself is unchanged."
        ] * peers["stand_in"]
    if record["load"] > BUSY:
        lines.append("**The machine was busy with other things: ratios are rough.**")
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
    """Each measurement that has a target as a point: times better (right) or worse (left) than the target."""
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
