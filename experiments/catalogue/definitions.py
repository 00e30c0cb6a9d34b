"""Names that have several definitions, side by side, with the result of each on one small input."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import byzsim
from byzsim import AGGREGATORS, ATTACKS, MODIFIERS, PREAGGREGATORS
from byzsim.experiments.files import markdown_table

# Of 20,000 random matrices the one on which the most variants of the rules differ.
EXAMPLE = [[12, 7], [2, 6], [12, 1], [-4, 6], [0, -4], [4, 9], [1, -2], [-2, -1]]
EXAMPLE_F = 1


def several() -> list[str]:
    """The names that have several definitions."""
    return [name for zoo in (AGGREGATORS, PREAGGREGATORS, ATTACKS, MODIFIERS) for name, e in zoo.items() if e.variants]


def page(names: Sequence[str] = ()) -> str:
    """The page of these names, or of all names with several definitions, with the result of each on a small input."""
    parts = [
        "# Definitions that differ",
        "Some names have several definitions. Each definition is a variant, a name for the options in its row: on the "
        "command line --options MEMBER.variant=NAME, in Python variant=NAME (for the last part of nnm+krum). The first "
        "variant is the default and, unless the member's docstring gives a reason, that of the original paper. "
        "`byzsim definitions` makes this page from the registry. The last column is the result on the matrix below.",
        f"Rules aggregate these {len(EXAMPLE)} rows with f = {EXAMPLE_F} and (1, 1) as the server's own gradient:",
        "```\n" + "\n".join(" ".join(f"{x:3g}" for x in row) for row in EXAMPLE) + "\n```",
        f"Attacks get the first {len(EXAMPLE) - 2} rows as honest gradients, the last two rows as the gradients of the "
        "two Byzantine workers before the attack, and (1, 1) as the full gradient. The result is what the first "
        "Byzantine worker sends in the first step, against `median`. Preaggregators are chained with `median`.",
    ]
    zoos = {
        "Aggregation rules": AGGREGATORS,
        "Preaggregators": PREAGGREGATORS,
        "Attacks": ATTACKS,
        "Modifiers": MODIFIERS,
    }
    for title, zoo in zoos.items():
        shown = {name: zoo[name] for name in names or several() if name in zoo}
        parts += [f"## {title}"] * bool(shown)
        for name, spec in shown.items():
            rows = [
                (r.name, _options(r.options), r.formula, r.source, result(title, name, r.options))
                for r in spec.variants
            ]
            header = ("variant", "options", "formula", "source", "result on the example")
            parts += [f"### {name}", f"{spec.summary} Source: {spec.source}.", markdown_table(header, rows)]
    return "\n\n".join(parts) + "\n"


def _options(chosen: Mapping[str, Any]) -> str:
    return "`" + ", ".join(f"{key}={value!r}" for key, value in chosen.items()) + "`" if chosen else "default"


def result(title: str, name: str, given: Mapping[str, Any]) -> str:
    """What a member under this title of the page gives on the example, with these options."""
    if title == "Attacks":
        if "data" in ATTACKS[name].traits:
            return "labels"
        vector = byzsim.forge(
            name,
            EXAMPLE[:-2],
            n_byz=2,
            byzantine_gradients=EXAMPLE[-2:],
            full_gradient=[1.0, 1.0],
            rule="median",
            **given,
        )[0]
    else:
        rule = f"{name}+median" if title == "Preaggregators" else name
        with warnings.catch_warnings(
            action="ignore", category=UserWarning
        ):  # a preaggregator may leave too few rows for f
            vector = byzsim.aggregate(rule, EXAMPLE, f=EXAMPLE_F, server_gradient=[1.0, 1.0], **given)
    return "(" + ", ".join(f"{float(x):.3g}" for x in vector) + ")"
