"""The catalogue: a page for each member of the registries, an index that can be filtered, a comparison of two rules."""

import inspect
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from byzsim import AGGREGATORS, ATTACKS, MODELS, MODIFIERS, PARTITIONS, PREAGGREGATORS, TASKS, Spec, registration
from byzsim.experiments.catalogue import definitions, rules
from byzsim.experiments.cli.commands.show import SELECTED_BY, SIZES
from byzsim.experiments.datasets import DATASETS
from byzsim.experiments.files import markdown_table
from byzsim.experiments.site import charts, docstrings, typeset
from byzsim.experiments.site.facts import Facts, time_text
from byzsim.experiments.site.markup import Sorted, accuracy, chips, code, esc, folded, record, table
from byzsim.experiments.site.settings import Setting
from byzsim.experiments.tables import TABLES
from byzsim.options import allowed
from byzsim.types import ATTACK_TRAITS, RULE_TRAITS


class Kind(NamedTuple):
    """One kind of members."""

    folder: str
    title: str
    one: str
    """as in `byzsim show`"""
    zoo: Mapping[str, Spec]
    traits: Mapping[str, str]


KINDS = (
    Kind("rules", "Aggregation rules", "aggregation rule", AGGREGATORS, RULE_TRAITS),
    Kind("preaggregators", "Preaggregators", "preaggregator", PREAGGREGATORS, RULE_TRAITS),
    Kind("attacks", "Attacks", "attack", ATTACKS, ATTACK_TRAITS),
    Kind("modifiers", "Modifiers of attacks", "modifier of attacks", MODIFIERS, ATTACK_TRAITS),
    Kind("tasks", "Tasks", "task", TASKS, {}),
    Kind("models", "Models", "model", MODELS, {}),
    Kind("partitions", "Partitions", "partition", PARTITIONS, {}),
)
TOP = "../../"  # from a member's page to the top of the site
FITTED = ("m", "d")
LIMITED = "This is a lower bound: a stronger attack may find more. "


def pages(facts: Facts, settings: list[Setting]) -> dict[str, str]:
    """Address -> Markdown."""
    found = {"catalogue/index.md": _index(facts, settings), "catalogue/compare.md": COMPARE}
    for kind in KINDS:
        for name, spec in kind.zoo.items():
            found[f"catalogue/{kind.folder}/{name}.md"] = "\n\n".join(_member(kind, name, spec, facts, settings)) + "\n"
    return found


def _member(kind: Kind, name: str, spec: Spec, facts: Facts, settings: list[Setting]) -> Iterator[str]:
    doc = docstrings.parsed(spec.factory)
    yield f"---\ntitle: {name}\n---\n\n# {name}"
    yield f"*{kind.one}* · {spec.source}"
    yield doc.summary
    yield doc.body
    if spec.traits:
        yield f'<p class="chips">{chips(spec.traits, kind.traits)}</p>'
    yield from _options(spec, doc)
    yield from _definitions(kind, name, spec)
    if kind.folder in ("rules", "preaggregators"):
        yield from _guarantee(kind, name, spec, doc, facts)
        yield from _cost(kind, name, spec, doc, facts)
    if kind.folder in ("rules", "attacks"):
        yield from _under_attack(kind, name, settings)
    if notes := doc.sections.get("Notes"):
        yield f"## Notes\n\n{docstrings.with_formulas(notes)}"
    yield from _papers(kind, name, spec, doc)
    yield _try(kind, name, spec)


def _options(spec: Spec, doc: docstrings.Doc) -> Iterator[str]:
    words = allowed(spec.factory)
    options = [each for each in inspect.signature(spec.factory).parameters.values() if each.default is not each.empty]
    rows = [
        (f"`{each.name}`", f"`{each.default!r}`", words.get(each.name, ""), doc.args.get(each.name, ""))
        for each in options
    ]
    if rows:
        yield "## Options"
        yield _markdown(("option", "default", "takes", "meaning"), rows)


def _definitions(kind: Kind, name: str, spec: Spec) -> Iterator[str]:
    """The variants side by side, each with what it gives on one small input."""
    titles = {"rules": "Aggregation rules", "preaggregators": "Preaggregators", "attacks": "Attacks"}
    title = titles.get(kind.folder)
    if title and not spec.variants:
        yield "## On one small input"
        yield f"With its defaults it gives {_result(title, name, {})}."
        yield _example(kind)
    if not spec.variants:
        return
    rows = []
    for variant, options, formula, source in spec.variants:
        single = {key: value for key, value in options.items() if (key, value) != ("variant", variant)}
        given = ", ".join(f"`{key}={value!r}`" for key, value in single.items())
        result = _result(title, name, options) if title else "–"
        rows.append((f"`{variant}`", result.replace(", ", ",&nbsp;"), formula, source, given))
    yield "## Definitions of this name"
    yield "The first is the default. `variant=NAME` selects another one wherever options are given."
    yield _markdown(("variant", "result", "what differs", "source", "in single options"), rows)
    points = {variant.strip("`"): _point(result) for variant, result, *_ in rows}
    if title and len(set(points.values()) - {None}) > 1:
        given = [(float(x), float(y)) for x, y in definitions.EXAMPLE]
        yield charts.plane(given, {key: at for key, at in points.items() if at}, f"{name} on the small input")
    yield _example(kind)


def _point(result: str) -> tuple[float, float] | None:
    """The two numbers of a printed vector; None if it is none, or not finite."""
    found = re.fullmatch(r"\((\S+),&nbsp;(\S+)\)", result)
    numbers = [float(each) for each in found.groups()] if found else []
    return (
        (numbers[0], numbers[1])
        if numbers and all(map(math.isfinite, numbers)) and max(map(abs, numbers)) < 50
        else None
    )


def _result(title: str, name: str, options: Mapping[str, Any]) -> str:
    try:
        return definitions.result(title, name, options)
    except ValueError:  # it needs more than rows, such as the parameters
        return "–"


def _example(kind: Kind) -> str:
    rows = " ".join(f"({x}, {y})" for x, y in definitions.EXAMPLE)
    what = (
        f"The rows are {rows} with f = {definitions.EXAMPLE_F}, and (1, 1) is the server's own gradient."
        if kind.folder != "attacks"
        else f"Of the rows {rows} the last two are what the Byzantine workers would send if they were honest; the "
        "result is what the first of them sends in the first step, against `median`, with (1, 1) as the full gradient."
    )
    chained = " The preaggregator stands before `median`." if kind.folder == "preaggregators" else ""
    side = "[All definitions](../../definitions.md) are side by side on one page."
    return f'??? note "The small input"\n\n    {what}{chained} {side}'


def _guarantee(kind: Kind, name: str, spec: Spec, doc: docstrings.Doc, facts: Facts) -> Iterator[str]:
    yield "## Guarantee and robustness"
    bound = spec.max_f is not Spec._field_defaults["max_f"]
    rows = [("tolerates", doc.sections["Tolerates"])] if "Tolerates" in doc.sections else []
    if bound:
        rows.append(("largest f that is covered", "; ".join(f"{spec.max_f(m)} of m = {m}" for m in SIZES)))
    measured = facts.rules.get(name, {})
    if kind.folder == "rules":
        rows += list(_kappa(spec, measured))
        rows.append(
            ("rows with NaN or infinity", measured.get("non-finite rows") or rules.non_finite(spec, rules.Size()))
        )
    yield _markdown(("what", "how much"), rows)
    if name in facts.errors:
        own = {key: value for key, value in facts.errors[name].items() if key not in ("rule", "f")}
        yield "How far attacks move the aggregate from the honest mean, in standard deviations of honest rows:"
        yield _markdown(own.keys(), [[f"{float(value):.2f}" for value in own.values()]])
        yield "Made by `byzsim zoo`: [what was measured](../../results/rules/learned.md)."


def _kappa(spec: Spec, measured: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not measured:
        yield "robustness coefficient κ", "not measured yet: `byzsim zoo --plugins ...` or `byzsim.robustness`"
    elif not measured["kappa"]:
        yield "robustness coefficient κ", "none: the rule is no function of one step's rows alone"
    else:
        yield (
            "robustness coefficient κ, found",
            f"{measured['kappa']} at m = {rules.Size().m}, f = {measured['f']}, by {measured['found by']}. {LIMITED}"
            "[All rules](../../results/rules.md)",
        )
        yield "κ, published upper bound", measured["published"] or "none is recorded"


def _cost(kind: Kind, name: str, spec: Spec, doc: docstrings.Doc, facts: Facts) -> Iterator[str]:
    yield "## Cost"
    if said := doc.sections.get("Cost"):
        yield said
    lines = {along: facts.line(name, along) for along in FITTED}
    if all(len(line) for line in lines.values()):
        rows = [(along, _sizes(line, along), _slope(facts, name, along)) for along, line in lines.items()]
        yield _markdown(("against", "size: time", "grows as"), rows)
        yield charts.growth(facts, name)
        yield "Made by `byzsim bench scaling`: [how cost grows](../../results/bench/scaling.md)."
    if name in facts.times:
        rows = [
            (shape, time_text(row["ours_ms"]), f"{row['ours_ms'] / row['other_ms']:.1f}", row["what"])
            for shape, row in facts.times[name].items()
        ]
        yield _markdown(("m x d", "time", "times one read of the matrix", "what was timed"), rows)
        yield f"On {next(iter(facts.times[name].values()))['device']}: [the benchmark](../../results/bench.md)."
    elif kind.folder == "rules" and lines["m"].empty:
        yield "Its time has not been measured in this checkout: `byzsim bench scaling` does it."


def _sizes(line: pd.DataFrame, along: str) -> str:
    pairs = zip(line[along], line["ms"], strict=True)
    return "; ".join(f"{int(size):,}: {time_text(ms)}" for size, ms in pairs)


def _slope(facts: Facts, name: str, along: str) -> str:
    slope = facts.slope(name, along)
    if slope is None:
        return "–"
    doubt = "" if math.isnan(slope.error) else f" ± {slope.error:.2f}"
    return f"{along}^{slope.value:.2f}{doubt}"


def _under_attack(kind: Kind, name: str, settings: list[Setting]) -> Iterator[str]:
    """A table for each setting: a rule under each attack, or each rule under an attack."""
    mine = [each for each in settings if name in (each.rules if kind.folder == "rules" else [*each.attacks, "none"])]
    yield "## Accuracy under each attack" if kind.folder == "rules" else "## What it does to each rule"
    if not mine:
        yield "No committed table has runs with it."
    for setting in mine:
        others = [*setting.attacks, "none"] if kind.folder == "rules" else setting.rules
        pairs = [(name, other) if kind.folder == "rules" else (other, name) for other in others]
        pairs = [pair for pair in pairs if pair in setting.cells]
        pairs.sort(key=lambda pair: setting.cells[pair].rank)
        other = "attack" if kind.folder == "rules" else "rule"
        rows = [(_link(pair, kind), _bar(accuracy(setting, *pair, TOP))) for pair in pairs]
        yield folded(f"{setting.title} ({len(pairs)})", table((other, "accuracy (%)"), rows, kind="sortable bars"))
    if mine:
        yield "Each number links to its records. †: more Byzantine workers than the rule's guarantee covers."


def _link(pair: tuple[str, str], kind: Kind) -> str:
    rule, attack = pair
    if kind.folder == "rules":
        return f'<a href="../attacks/{attack}.html">{esc(attack)}</a>' if attack in ATTACKS else esc(attack)
    return f'<a href="../rules/{rule}.html">{esc(rule)}</a>' if rule in AGGREGATORS else esc(rule)


def _bar(cell: Sorted) -> Sorted:
    return Sorted(f'<span class="bar" style="--share:{max(cell.value, 0):.1f}%">{cell}</span>', cell.value)


def _papers(kind: Kind, name: str, spec: Spec, doc: docstrings.Doc) -> Iterator[str]:
    yield "## Papers"
    yield doc.sections.get("References") or f"{spec.source}."
    sources = list(dict.fromkeys(variant.source for variant in spec.variants))
    if sources:
        yield "Definitions of this name are in: " + "; ".join(sources) + "."
    used = [each.name for each in TABLES.values() if _uses(each, name)]
    if used:
        listed = "; ".join(f"`{each}` ({TABLES[each].source})" for each in used)
        yield f"Tables of byzsim that run it: {listed}."


def _uses(known: Any, name: str) -> bool:
    values = [
        *known.base.values(),
        *(value for axis in known.axes for each in axis.settings.values() for value in each.values()),
    ]
    return any(isinstance(value, str) and name in value.split("+") for value in values)


def _try(kind: Kind, name: str, spec: Spec) -> str:
    shell, _ = SELECTED_BY[kind.one]
    command = f"byzsim run smoke {shell.format(name)}\nbyzsim show {name}"
    return "\n\n".join(["## Try it", code(example(kind, name, spec)), code(command, "console")])


ROWS = "import byzsim\nimport numpy as np\n\nrows = np.random.default_rng(0).normal(1.0, 1.0, size=(11, 5))\n"
DATA = """import byzsim
from byzsim.experiments.datasets import load

data = load("{}")
train, test = (data.train_inputs, data.train_labels), (data.test_inputs, data.test_labels)
"""
SIZE = "m=10, n_byz=2, epochs=2"


def example(kind: Kind, name: str, spec: Spec) -> str:
    """Python that uses a member and runs as it is; a task that needs data of its own has a comment in their place."""
    if kind.folder in ("rules", "preaggregators"):
        server = ", server_gradient=np.ones(5)" * ("server" in spec.traits)
        called = name if kind.folder == "rules" else f"{name}+krum"
        return f'{ROWS}print(byzsim.aggregate("{called}", rows, f={min(spec.max_f(11), 2)}{server}))'
    if kind.folder == "modifiers":
        return f'{ROWS}print(byzsim.forge("{name}+alie", rows[2:], n_byz=2, byzantine_gradients=rows[:2]))'
    if kind.folder == "attacks" and "data" not in spec.traits:
        return f'{ROWS}print(byzsim.forge("{name}", rows[2:], n_byz=2{_needed(spec)}))'
    if kind.folder == "tasks":
        return _task(name, spec)
    field = {"attacks": "attack", "models": "model", "partitions": "partition"}[kind.folder]
    given = {"rule": "median", "attack": "alie", "model": "softmax"} | {field: name}
    run = ", ".join(f'{key}="{value}"' for key, value in given.items())
    data = DATA.format("fashion_mnist" if kind.folder == "models" else "digits")
    return f"{data}history = byzsim.simulate(train, test, {run}, {SIZE})\nprint(history.accuracy)"


def _needed(spec: Spec) -> str:
    """What an attack reads beside the honest rows, as arguments."""
    needed = {
        "byzantine_gradients=rows[:2]": spec.factory().reads_own_gradients,
        'rule="median"': "rule" in spec.traits,
        "full_gradient=np.ones(5)": "full_gradient" in spec.traits,
        "params=np.zeros(5)": "params" in spec.traits,
    }
    return "".join(f", {argument}" for argument, is_needed in needed.items() if is_needed)


def _task(name: str, spec: Spec) -> str:
    run = f'task="{name}", rule="median", attack="alie", {SIZE}'
    made = None if registration.needed(spec) else spec.factory()
    if made is None or not (made.generate or made.sample):
        run, comment = f"train, test, {run}", "# train and test: (inputs, labels)\n"
    else:
        run, comment = run + ", steps=50" * bool(made.sample), ""
    return f"import byzsim\n\n{comment}history = byzsim.simulate({run})\nprint(history.metrics)"


def _markdown(header: Iterable[Any], rows: Iterable[Sequence[Any]]) -> str:
    return markdown_table(header, [[" ".join(str(cell).split()) for cell in row] for row in rows])


COST = ("m = 20, d = 100,000", 20, 100_000)  # the size at which costs are compared


def costs(facts: Facts) -> dict[str, float]:
    """Rule -> milliseconds at the size of `COST`."""
    if facts.growth.empty:
        return {}
    at = facts.growth[(facts.growth["m"] == COST[1]) & (facts.growth["d"] == COST[2])]
    return {rule: float(ms) for rule, ms in zip(at["rule"], at["ms"], strict=True) if ms > 0}


def needs(spec: Spec) -> list[str]:
    """What a rule needs beside the rows of one step."""
    words = {"stateful": "a memory", "server": "data of the server", "stochastic": "random numbers"}
    found = [words[trait] for trait in words if trait in spec.traits]
    return found + ["redundant gradients"] * (spec.factory().redundancy > 1)


def _index(facts: Facts, settings: list[Setting]) -> str:
    zoo = next((each for each in settings if each.folder == "zoo"), None)
    worst = {rule: (attack, cell) for rule, attack, cell in zoo.ranked()} if zoo else {}
    ms = costs(facts)
    rows = []
    for name, spec in AGGREGATORS.items():
        measured = facts.rules.get(name, {})
        kappa = measured.get("kappa") or "–"
        low = Sorted("–", -2)
        if name in worst and zoo:
            attack, _ = worst[name]
            low = accuracy(zoo, name, attack, "../")
            low = Sorted(f"{low} <small>{esc(attack)}</small>", low.value)
        rows.append((
            f'<a href="rules/{name}.html">{esc(name)}</a><br><small>{esc(spec.summary)}</small>',
            Sorted(str(spec.max_f(20)), spec.max_f(20)),
            esc(f"O({spec.cost})"),
            Sorted(time_text(ms[name]), ms[name]) if name in ms else Sorted("–", math.inf),
            Sorted(esc(kappa), _number(kappa)),
            low,
            ", ".join(needs(spec)) or "rows alone",
            chips(spec.traits, RULE_TRAITS),
        ))  # fmt: skip
    header = ("rule", "largest f of m = 20", "cost", COST[0], "κ found", "worst accuracy (%)", "needs", "traits")
    said = f", and the worst accuracy is that of {zoo.title} ({zoo.amount}), under the attack beside it" if zoo else ""
    parts = [INDEX.format(said), table(header, rows, kind="sortable filtered")]
    for kind in KINDS[1:]:
        listed = [
            (
                f'<a href="{kind.folder}/{name}.html">{esc(name)}</a>',
                esc(spec.summary),
                esc(spec.source),
                chips(spec.traits, kind.traits),
            )
            for name, spec in kind.zoo.items()
        ]
        parts += [f"## {kind.title}", table(("name", "what", "source", "traits"), listed, kind="sortable")]
    data = [(f"`{name}`", spec.summary, spec.source) for name, spec in DATASETS.items()]
    parts += ["## Data sets", _markdown(("name", "what", "source"), data)]
    return "\n\n".join(parts) + "\n"


def _number(kappa: str) -> float:
    try:
        return float(kappa)
    except ValueError:  # unbounded, or none
        return math.inf


INDEX = """---
hide:
  - toc
---

# Catalogue

Every member of the registries has a page, made from the registry, the committed measurements and the records when the
site is built. [Compare two rules](compare.md), or [play with six of them](../explorer.md).

## Aggregation rules

A click on a heading sorts. κ is the worst ratio that attacks found, a lower bound{}.
[What these numbers can say](../results/which-rule.md).
"""
COMPARE = """---
title: Compare two rules
hide:
  - toc
---

# Two rules side by side

<div id="compare"></div>
<noscript>This page needs JavaScript; each rule has a page in the <a href="index.html">catalogue</a>.</noscript>
<script src="../assets/data.js"></script>
<script src="../assets/compare.js"></script>
"""


def data(facts: Facts, settings: list[Setting]) -> str:
    """What the page of comparison reads: a script, since pages from disk may not load other files."""
    ms = costs(facts)
    known = {}
    for name, spec in AGGREGATORS.items():
        doc, measured = docstrings.parsed(spec.factory), facts.rules.get(name, {})
        known[name] = {
            "summary": doc.summary,
            "source": spec.source,
            "formula": "".join(
                typeset.block(each) for each in docstrings.FENCE.findall(inspect.getdoc(spec.factory) or "")
            ),
            "largest f of m = 20": spec.max_f(20),
            "cost": f"O({spec.cost})",
            f"time at {COST[0]}": time_text(ms[name]) if name in ms else "–",
            "κ found": measured.get("kappa") or "–",
            "κ published": measured.get("published") or "–",
            "rows with NaN or infinity": measured.get("non-finite rows") or "–",
            "needs": ", ".join(needs(spec)) or "rows alone",
            "traits": sorted(spec.traits),
            "on the small input": _result("Aggregation rules", name, {}),
        }
    tables = [
        {
            "title": each.title,
            "attacks": ["none", *each.attacks],
            "cells": {
                rule: {
                    attack: (cell.text, record(each, rule, cell, "../"))
                    for attack in ("none", *each.attacks)
                    if (cell := each.cells.get((rule, attack)))
                }
                for rule in each.rules
            },
        }
        for each in settings
    ]
    everything = {"rules": known, "tables": tables, "traits": RULE_TRAITS}
    return f"window.BYZSIM = {json.dumps(everything, ensure_ascii=False)};\n"
