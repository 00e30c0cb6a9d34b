"""Rules under attacks, from the committed records: tables, worst cases, and what follows for a choice."""

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
from byzsim import AGGREGATORS, ATTACKS
from byzsim.experiments import records
from byzsim.experiments.site import charts
from byzsim.experiments.site.catalogue import COST, costs, needs
from byzsim.experiments.site.facts import Facts, time_text
from byzsim.experiments.site.markup import Sorted, accuracy, esc, record, slug, table
from byzsim.experiments.site.settings import DIVERGED, Cell, Setting, of_folder

NEAR = 5.0  # points: rules whose worst case is at most this much below the best are named beside it

HEAD = """---
hide:
  - toc
---

# Leaderboard

Every committed run of a rule under an attack. A number is the test accuracy in percent at the end of training: the mean
over the seeds ± their sample standard deviation; without ± there is one seed. It links to its records. A rule's
**worst case** is its lowest number over all attacks of the table; a run that diverged is worse than any accuracy.
†: more Byzantine workers than the rule's guarantee covers. A click on a heading sorts.
[Which rule should I use?](which-rule.md)

<div id="filters"></div>
"""
WHICH = """# Which rule should I use?

Answered from the committed records, in words that the build makes. It is an answer for these tasks and no others: read
the limits below before you take it further.
"""


def pages(facts: Facts, settings: list[Setting]) -> dict[str, str]:
    """Address -> Markdown."""
    ms = costs(facts)
    found = {
        "results/leaderboard.md": "\n\n".join([HEAD, *(_section(each, ms) for each in settings)]) + "\n",
        "results/which-rule.md": "\n\n".join([WHICH, *_answers(settings, ms), *_limits(settings)]) + "\n",
    }
    for folder in facts.runs:
        found |= _records(facts, folder)
    return found


def _section(setting: Setting, ms: dict[str, float]) -> str:
    worst = {rule: (attack, cell) for rule, attack, cell in setting.ranked()}
    shown = [*(["none"] if any(attack == "none" for _, attack in setting.cells) else []), *setting.attacks]
    rows = []
    for rule in sorted(setting.rules, key=lambda rule: -worst[rule][1].rank if rule in worst else 0.0):
        low = Sorted("–", -2)
        if rule in worst:
            attack, _ = worst[rule]
            low = accuracy(setting, rule, attack, "../")
            low = Sorted(f"{low} <small>{esc(attack)}</small>", low.value)
        cost = Sorted(time_text(ms[rule]), ms[rule]) if rule in ms else Sorted("–", 1e12)
        rows.append((_rule(rule), low, cost, *(accuracy(setting, rule, attack, "../") for attack in shown)))
    heads = [_attack(attack) for attack in shown]
    grid = table(("rule", "worst case", f"cost, {COST[0]}", *heads), rows, kind="sortable sticky")
    values = {"table": setting.folder, **{key: str(value) for key, value in setting.values.items()}}
    return "\n\n".join([
        f"## {setting.title} {{ #{setting.name} }}",
        f'<div data-filters="{esc(json.dumps(values))}"></div>',
        _facts(setting),
        grid,
        _scatter(setting, ms),
    ])  # fmt: skip


def _facts(setting: Setting) -> str:
    """What all runs of a setting share, in one sentence."""
    about = {key: value for key, value in setting.about.items() if not (np.isscalar(value) and pd.isna(value))}
    what = [
        f"{about.get('model') or about.get('task')} on {about['data']}",
        f"partition {about.get('partition', 'iid')}",
        f"batches of {about['batch']}" if about.get("batch") else "whole shards",
        setting.amount,
    ]
    report = f"[The whole report](../results/{setting.folder}.md)"
    return f"{', '.join(what)}; the rule is told f = {int(about['f'])}. {report}"


def _rule(rule: str) -> str:
    return f'<a href="../catalogue/rules/{rule}.html">{esc(rule)}</a>' if rule in AGGREGATORS else esc(rule)


def _attack(attack: str) -> str:
    return f'<a href="../catalogue/attacks/{attack}.html">{esc(attack)}</a>' if attack in ATTACKS else esc(attack)


def _scatter(setting: Setting, ms: dict[str, float]) -> str:
    marks = [
        charts.Mark(
            rule,
            ms[rule],
            max(cell.rank, 0.0),
            f"{rule}: {cell.text} % under {attack}; {time_text(ms[rule])}",
            record(setting, rule, cell, "../"),
        )
        for rule, attack, cell in setting.ranked()
        if rule in ms
    ]
    if all(mark.y <= 0 for mark in marks):  # nothing to see where every rule diverged
        return ""
    low, high = min(mark.x for mark in marks) / 1.3, max(mark.x for mark in marks) * 1.9
    y = charts.Axis("worst accuracy (%), 0: diverged", 0, 100)
    x = charts.Axis(f"cost: milliseconds at {COST[0]}", low, high, log=True)
    return charts.scatter(marks, x, y, f"{setting.title}: cost and worst case")


# ---------------------------------------------------------------------------------------------------------
# Which rule
# ---------------------------------------------------------------------------------------------------------


def _answers(settings: list[Setting], ms: dict[str, float]) -> Iterator[str]:
    yield "## What the records say"
    for setting in settings:
        ranked = setting.ranked()
        if not ranked or ranked[0][2].rank == DIVERGED:
            yield f"**{setting.title}.** Every rule diverged under at least one attack: none of these is enough here."
            continue
        yield f"**{setting.title}.** " + " ".join(_answer(setting, ranked, ms))


def _answer(setting: Setting, ranked: list[tuple[str, str, Cell]], ms: dict[str, float]) -> Iterator[str]:
    first, *others = ranked
    near = [each for each in others if each[2].rank >= first[2].rank - NEAR]
    yield f"The best worst case over {len(setting.attacks)} attacks is that of {_words(setting, first)}."
    listed = "; ".join(_words(setting, each) for each in near)
    yield f"Within {NEAR:g} points of it: {listed}." if near else f"No other rule is within {NEAR:g} points of it."
    plain = [each for each in ranked if each[0] in AGGREGATORS and not needs(AGGREGATORS[each[0]])]
    if plain and plain[0] != first:
        yield f"Of the rules that need nothing but the rows of one step, the best is {_words(setting, plain[0])}."
    timed = [rule for rule, _, _ in (first, *near) if rule in ms]
    if near and timed:
        cheap = min(timed, key=ms.__getitem__)
        yield f"The cheapest of these is {_named(cheap)} ({time_text(ms[cheap])} at {COST[0]})."
    beyond = sorted(rule for rule, _, cell in ranked if cell.beyond)
    if beyond:
        yield f"The guarantee of {', '.join(map(_named, beyond))} does not cover so many."


def _words(setting: Setting, found: tuple[str, str, Cell]) -> str:
    """A rule with its worst case, which links to its record."""
    rule, attack, cell = found
    return f'{_named(rule)} (<a href="{record(setting, rule, cell, "../")}">{esc(cell.text)} %</a> under {attack})'


def _named(rule: str) -> str:
    return f"[{rule}](../catalogue/rules/{rule}.md)" if rule in AGGREGATORS else rule


def _limits(settings: list[Setting]) -> Iterator[str]:
    yield "## Limits"
    lines = []
    if single := list(dict.fromkeys(each.table for each in settings if each.seeds == 1)):
        lines.append(f"One seed only, so without any interval: {'; '.join(single)}. Another seed may change the order.")
    if several := [each.seeds for each in settings if each.seeds > 1]:
        lines.append(f"Elsewhere at most {max(several)} seeds: differences below the printed ± are not to be read.")
    if counts := {int(each.about["steps"]) for each in settings if not pd.isna(each.about.get("steps"))}:
        words = ", ".join(map(str, sorted(counts)))
        lines.append(f"Runs of {words} steps end before training does: a slow start counts as a weakness there.")
    partitions = sorted({str(each.values.get("partition", "iid")) for each in settings})
    if partitions == ["iid"]:
        lines.append("No heterogeneous workers: what holds on i.i.d. data may not hold where honest rows differ more.")
    yield "\n".join(f"- {line}" for line in (*lines, *ALWAYS))


ALWAYS = (
    "A rule has the options and the learning rate of its table, mostly defaults; tuning may change the order.",
    "The worst case is over the attacks of the table. One that is made against a rule may do worse to it than these.",
    "A rule that needs a memory, data of the server or redundant gradients assumes more than one that does not.",
    f"Costs are times on a CPU at {COST[0]}, without the gradients.",
)


# ---------------------------------------------------------------------------------------------------------
# Records
# ---------------------------------------------------------------------------------------------------------


def _records(facts: Facts, folder: str) -> dict[str, str]:
    """A page for each rule of a folder with the records as they are in runs.jsonl, each at its id."""
    by_id = {each["id"]: each for each in records.valid(facts.results / folder, lambda line: None)}
    pages: dict[str, list[str]] = {}
    for setting in of_folder(folder, facts.runs[folder]):
        for (rule, attack), cell in setting.cells.items():
            for id, seed in zip(cell.ids, cell.seeds, strict=True):
                title = (
                    f"{attack}, {', '.join(f'{key} = {value}' for key, value in setting.values.items())}, seed {seed}"
                )
                content = esc(json.dumps(by_id[id], indent=1, ensure_ascii=False))
                pages.setdefault(rule, []).append(
                    f'<details id="{id}">\n<summary>{esc(title)}</summary>\n<pre>{content}</pre>\n</details>'
                )
    return {
        f"results/{folder}/records/{slug(rule)}.md": (
            f"---\ntitle: Records of {rule} in {folder}\nsearch:\n  exclude: true\n---\n\n"
            f"# Records of {rule} in {folder}\n\n"
            f"Each run as it is in `results/{folder}/runs.jsonl`. [What the fields mean](../../../records.md); "
            f"[the report](../../{folder}.md).\n\n" + "\n".join(runs) + "\n"
        )
        for rule, runs in pages.items()
    }
