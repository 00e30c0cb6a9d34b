"""Names that stand for several definitions, side by side, with what each gives on one small input."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import byzsim
from byzsim import AGGREGATORS, ATTACKS, MODIFIERS, PREAGGREGATORS
from byzsim.experiments.files import markdown_table

# Of 20,000 drawn matrices the one on which most variants of the rules differ.
EXAMPLE = [[12, 7], [2, 6], [12, 1], [-4, 6], [0, -4], [4, 9], [1, -2], [-2, -1]]
EXAMPLE_F = 1


def several() -> list[str]:
    """The names that stand for several definitions."""
    return [name for zoo in (AGGREGATORS, PREAGGREGATORS, ATTACKS, MODIFIERS) for name, e in zoo.items() if e.variants]


def page(names: Sequence[str] = ()) -> str:
    """The page of these of the names that stand for `several` definitions, or all; what each gives on a small input."""
    parts = [
        "# Definitions that differ",
        "One name, several definitions: each is a variant, which stands for the options beside it: on the command "
        "line --options MEMBER.variant=NAME, in Python variant=NAME (of the last part of nnm+krum). The first is the "
        "default, and the original paper's unless the member's docstring says why it is not. Made from the registry by "
        "`byzsim definitions`. The last column is what each gives on the matrix below.",
        f"Rules see these {len(EXAMPLE)} rows with f = {EXAMPLE_F}, and (1, 1) as the server's own gradient:",
        "```\n" + "\n".join(" ".join(f"{x:3g}" for x in row) for row in EXAMPLE) + "\n```",
        f"Attacks see the first {len(EXAMPLE) - 2} of them as honest work, and the last two as what honest work of the "
        "two Byzantine workers would have been, and (1, 1) as the full gradient; shown "
        "is what the first sends, in the first step, to `median`. "
        "Preaggregators stand before `median`.",
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
                (r.name, _options(r.options), r.formula, r.source, _shown(title, name, r.options))
                for r in spec.variants
            ]
            header = ("variant", "options", "what it computes", "who", "on the example")
            parts += [f"### {name}", f"{spec.summary} Source: {spec.source}.", markdown_table(header, rows)]
    return "\n\n".join(parts) + "\n"


def _options(given: Mapping[str, Any]) -> str:
    return "`" + ", ".join(f"{key}={value!r}" for key, value in given.items()) + "`" if given else "default"


def _shown(title: str, name: str, given: Mapping[str, Any]) -> str:
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
