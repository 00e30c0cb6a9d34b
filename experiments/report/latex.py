"""A summary as LaTeX."""

from collections.abc import Mapping, Sequence

import pandas as pd
from byzsim.experiments.plan import Table
from byzsim.experiments.report.summary import QUICK, compared
from byzsim.experiments.report.text import BEYOND, IDLE, MISSING, Wording, legend, printed_grids, sections

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


def to_tex(summary: pd.DataFrame, table: Table, wording: Wording, origin: Mapping[str, str]) -> str:
    """A `table` environment for each panel: a line between groups of rows, the legend below, provenance in comments."""
    caption = f"{QUICK}. {wording.title}" if wording.quick else wording.title
    source = f". Source of the paper's numbers: {wording.source}." if compared(summary) else "."
    lines = ["% Needs the packages booktabs, amssymb (check marks) and graphicx (to fit the line)."]
    lines += [f"% {k}: {v}" for k, v in origin.items()]
    for panel, printed in printed_grids(summary, table, wording.labels).items():
        n_rows = len(table.places[0])
        lines += [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{_tex(f'{caption}, {panel}{source}' if panel else caption + source)}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{{'l' * n_rows}{'r' * (len(printed.columns) - n_rows)}}}",
            r"\toprule",
            " & ".join(map(_tex, printed.columns)) + r" \\",
            r"\midrule",
            *_tex_rows(sections(printed, table)),
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\par\smallskip\footnotesize {_tex(' '.join(legend(summary, table, wording.labels)))}",
            r"\end{table}",
            "",
        ]
    return "\n".join(lines)


def _tex_rows(sections: Sequence[pd.DataFrame]) -> list[str]:
    lines = []
    for rows in sections:
        lines += [" & ".join(map(_tex, row)) + r" \\" for row in rows.to_numpy()] + [r"\midrule"]
    return lines[:-1]
