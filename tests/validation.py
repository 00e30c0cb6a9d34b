"""The claims of the three papers, each with its experiment; docs/validation.md is made from this list and results/.

    python tests/validation.py docs/validation.md

Verdicts are not written here: they are read from the committed results, so that none can go stale.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from byzsim.experiments.files import markdown_table
from byzsim.experiments.tables import (
    safeguard_detection,
    safeguard_table,
    theory_rates,
    theory_saddle,
    theory_safeguard,
)

ROOT = Path(__file__).parent.parent
NOT_YET = "not yet measured"
SAFEGUARD, AKSEL, BRSGD = "SafeguardSGD", "AKSEL", "BrSGD"
PAPERS = {
    SAFEGUARD: "Allen-Zhu, Ebrahimian, Li, Alistarh, ICLR 2021, arXiv 2012.14368",
    AKSEL: "Boussetta, El-Mhamdi, Guerraoui, Maurer, Rouault, OPODIS 2020",
    BRSGD: "Li, Chen, Dong, Zhang, Wang, Zeng, FTL-IJCAI 2021, arXiv 2108.06658",
}


class Claim(NamedTuple):
    """What a paper says, and what says here whether it is so."""

    paper: str
    says: str
    where: str
    """in the paper"""
    experiment: str
    """a table, results/..., or tests/...::test; "" for none"""
    rows: Sequence[str] | None = None
    """the first cells of those rows of the verdict in results/ that speak of it; None: all"""


def _says(claims: Sequence, *which: int) -> list[str]:
    return [claims[i].says for i in which]


SADDLE, DETECTION, TABLE, RATES, RATE = (
    module.CLAIMS for module in (theory_saddle, safeguard_detection, safeguard_table, theory_rates, theory_safeguard)
)
CONTRACTION = "Before the floor each step shortens the error by 1 - λ/(G + λ) or more (least squares)"
CLAIMS = (
    Claim(
        SAFEGUARD, "escapes saddle points under attack", "abstract, Theorem 2.3", "theory_saddle", _says(SADDLE, 1, 5)
    ),
    Claim(SAFEGUARD, "finds approximate local minima", "abstract, Theorem 2.3", "theory_saddle", _says(SADDLE, 2)),
    Claim(SAFEGUARD, "catches attackers who matter", "Lemma 4.2, section 2", "theory_saddle", _says(SADDLE, 3)),
    Claim(SAFEGUARD, "loses no honest worker, on the octopus", "Lemma 4.2", "theory_saddle", _says(SADDLE, 4)),
    Claim(
        SAFEGUARD,
        "loses no honest worker, with the theory's thresholds",
        "Lemma 4.2",
        "safeguard_detection",
        _says(DETECTION, 3),
    ),
    Claim(
        SAFEGUARD,
        "catches attackers who go on, with thresholds found before the run",
        "section 5",
        "safeguard_detection",
        _says(DETECTION, 0, 1),
    ),
    Claim(
        SAFEGUARD,
        "rules without a memory do not leave saddle points under the attack",
        "sections 1 and 2",
        "theory_saddle",
        _says(SADDLE, 6),
    ),
    Claim(
        SAFEGUARD,
        "steps to a gradient norm grow as alpha^2 + 1 / m",
        "Theorem 2.3",
        "theory_safeguard",
        _says(RATE, 0, 1, 2),
    ),
    Claim(
        SAFEGUARD,
        "is better than all rules before it for deep networks",
        "abstract, section 5",
        "safeguard_table",
        _says(TABLE, 1),
    ),
    Claim(
        SAFEGUARD,
        "withstands two recent attacks (variance, delayed), and others do not",
        "abstract, section 5",
        "safeguard_table",
        _says(TABLE, 0, 3),
    ),
    Claim(
        SAFEGUARD, "is light: O(m d) a step", "section 1", "results/bench/scaling.md", ["safeguard:thresholds=theory"]
    ),
    Claim(AKSEL, "takes time O(n d)", "abstract", "results/bench/scaling.md", ["aksel"]),
    Claim(AKSEL, "withstands n > 2 f", "abstract", "tests/test_aggregators.py::test_every_promise_is_kept"),
    Claim(AKSEL, "has an angular error O(sqrt d), O(sqrt(d log n)) for normal gradients", "abstract", "results/angles"),
    Claim(AKSEL, "alone has top accuracy with few real attackers, and defends when s = f", "abstract", "aksel_few"),
    Claim(AKSEL, "extends to several servers", "abstract", "aksel_servers"),
    Claim(
        BRSGD,
        "contracts by 1 - lambda / (G + lambda) a step",
        "Theorem 1",
        "theory_rates",
        [CONTRACTION],
    ),
    Claim(BRSGD, "has a floor that falls as 1 / sqrt(n) under attack", "Theorem 1", "theory_rates", _says(RATES, 0)),
    Claim(
        BRSGD,
        "is order-optimal, alpha / sqrt(n) + 1 / sqrt(nm): it fails if there is a floor that workers do not buy down",
        "abstract, section 1",
        "theory_rates",
        _says(RATES, 2),
    ),
    Claim(BRSGD, "has an error that grows as sqrt(d)", "Theorem 1", "theory_rates", _says(RATES, 5)),
    Claim(BRSGD, "computes in O(m d)", "abstract", "results/bench/scaling.md", ["brsgd"]),
    Claim(
        BRSGD,
        "is as accurate as without Byzantine workers, under four attacks up to half",
        "abstract, Table 1",
        "brsgd_table1",
        ["brsgd"],
    ),
)
REFUTES = {"is order-optimal"}
"""claims that fail where the row of the verdict holds"""


def verdicts(folder: Path) -> dict[str, tuple[str, str]]:
    """Claim -> (verdict, the cell after it), of all tables in the README.md there that have a column Verdict."""
    found: dict[str, tuple[str, str]] = {}
    heads: list[str] = []
    text = (folder / "README.md").read_text(encoding="utf-8") if (folder / "README.md").is_file() else ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            heads = []
        elif not heads:
            heads = cells
        elif "Verdict" in heads and len(cells) > heads.index("Verdict"):
            at = heads.index("Verdict")
            found[cells[0]] = cells[at], " ".join(cells[at + 1 : at + 2]).strip(" |")
    return found


def judged(claim: Claim) -> tuple[str, str]:
    """(what was measured, the verdict)"""
    if claim.experiment.startswith("tests/"):
        return "a test", "holds"
    if claim.experiment.endswith("scaling.md"):
        return _of_scaling(claim)
    if claim.experiment == "brsgd_table1":
        return _of_cells(claim)
    folder = ROOT / "results" / claim.experiment.removeprefix("results/")
    known = verdicts(folder)
    if claim.rows is None and not known and (folder / "README.md").is_file():
        return "measured in several ways", "see its page"
    rows = [*known] if claim.rows is None else [row for row in claim.rows if row in known]
    said = [known[row] for row in rows]
    if not rows or len(rows) < len(claim.rows or rows) or any(verdict == "not run" for verdict, _ in said):
        return "", NOT_YET
    measured = "; ".join(
        f"{row}: {verdict}, {many}" if many else f"{row}: {verdict}"
        for row, (verdict, many) in zip(rows, said, strict=True)
    )
    holds = all(verdict == "holds" for verdict, _ in said)
    refuted = any(claim.says.startswith(words) for words in REFUTES)
    return measured, "holds" if holds != refuted else "fails"


def _of_scaling(claim: Claim) -> tuple[str, str]:
    for line in (ROOT / claim.experiment).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip(" *") for cell in line.strip("|").split(" | ")]
        if cells[0] in (claim.rows or ()) and len(cells) >= 7:
            both = cells[4], cells[6].strip(" *|")
            return f"slope in m {cells[3]}: {both[0]}; in d {cells[5]}: {both[1]}", _worse(both)
    return "", NOT_YET


def _worse(both: Sequence[str]) -> str:
    """Time that grows more slowly than a bound keeps it."""
    return "fails for this implementation" if "steeper" in both else "holds"


def _of_cells(claim: Claim) -> tuple[str, str]:
    cells = pd.read_csv(ROOT / "results" / claim.experiment / "table.csv")
    part = cells[cells["rule"].isin(claim.rows or ()) & cells["paper"].notna()]
    agree = int((part["verdict"] == "✓").sum())
    return f"{agree} of {len(part)} cells agree with the paper's", "holds" if agree == len(part) else "fails"


def page() -> str:
    """docs/validation.md."""
    lines = [
        "# Validation",
        "What the three papers claim that this project starts from, where, what measures it here, and what came out. "
        "Made by `python tests/validation.py docs/validation.md` from the verdicts in results/, which were fixed "
        "before the runs: "
        f'no verdict is written by hand. "{NOT_YET}": the experiment is there, and no result of its full edition is '
        "committed. A claim with several parts holds if all parts do.",
    ]
    for paper, source in PAPERS.items():
        rows = []
        for claim in (each for each in CLAIMS if each.paper == paper):
            measured, verdict = judged(claim)
            rows.append([claim.says, claim.where, _linked(claim.experiment), measured, verdict])
        lines += [
            f"## {paper}",
            f"{source}.",
            markdown_table(["Claim", "Where", "Experiment", "Measured", "Verdict"], rows),
        ]
    return "\n\n".join(lines) + "\n"


def _linked(experiment: str) -> str:
    """The experiment, with its results or its source where it is."""
    folder = f"results/{experiment.removeprefix('results/')}"
    if experiment.startswith("tests/"):
        return f"[{experiment.rpartition('/')[2]}](../{experiment.partition('::')[0]})"
    if experiment.endswith(".md"):
        return f"[byzsim bench scaling](../{experiment})"
    page = f"{folder}/README.md"
    return f"[{experiment}](../{page})" if (ROOT / page).is_file() else f"`{_command(experiment)}`"


def _command(experiment: str) -> str:
    return "byzsim angles" if experiment == "results/angles" else f"byzsim run {experiment}"


def missing() -> Iterator[str]:
    """Experiments that are not there."""
    from byzsim.experiments.tables import TABLES

    for claim in CLAIMS:
        path, _, test = claim.experiment.partition("::")
        if test and not re.search(rf"^def {test}\b", (ROOT / path).read_text(encoding="utf-8"), re.M):
            yield claim.experiment
        elif (path.endswith(".md") and not (ROOT / path).is_file()) or (
            not path.startswith(("tests/", "results/")) and path not in TABLES
        ):
            yield path


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
