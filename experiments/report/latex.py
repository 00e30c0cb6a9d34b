"""A summary as LaTeX."""

from collections.abc import Mapping

import pandas as pd
from byzsim.experiments.report.summary import QUICK, compared
from byzsim.experiments.report.text import BEYOND, IDLE, MISSING, Wording, legend, printed_grid

TEX = {
    **{c: f"\\{c}" for c in "%_&#${}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "−": "$-$",
    "≈": r"$\approx$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "α": r"$\alpha$",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    BEYOND: r"$^\dagger$",
    IDLE: r"$^\circ$",
    MISSING: "--",
}


def _tex(text: str) -> str:
    """Escape for pdfLaTeX, which knows European letters; an unknown character becomes "?"."""
    return "".join(TEX.get(c, c if ord(c) < 0x180 else "?") for c in text)


def to_tex(summary: pd.DataFrame, wording: Wording, origin: Mapping[str, str]) -> str:
    """A complete `table` environment: a line between attacks, the legend below, the provenance in comments."""
    table = printed_grid(summary, wording.labels)
    caption = f"{QUICK}. {wording.title}" if wording.quick else wording.title
    caption += f". Source of the paper's numbers: {wording.source}." if compared(summary) else "."
    return "\n".join(
        [
            "% Needs the packages booktabs, amssymb (check marks) and graphicx (to fit the line).",
            *(f"% {k}: {v}" for k, v in origin.items()),
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{_tex(caption)}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{ll{'r' * (len(table.columns) - 2)}}}",
            r"\toprule",
            " & ".join(map(_tex, table.columns)) + r" \\",
            r"\midrule",
            *_tex_rows(table),
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\par\smallskip\footnotesize {_tex(' '.join(legend(summary, wording.labels)))}",
            r"\end{table}",
            "",
        ]
    )


def _tex_rows(table: pd.DataFrame) -> list[str]:
    lines = []
    for _, rows in table.groupby("Attack", sort=False):
        lines += [" & ".join(map(_tex, row)) + r" \\" for row in rows.to_numpy()] + [r"\midrule"]
    return lines[:-1]
