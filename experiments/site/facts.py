"""What is known of members beside their registry: measured facts, times and recorded runs, read from `results/`."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from byzsim.experiments import load_results
from byzsim.experiments.bench import scaling

Row = Mapping[str, Any]
NO_ROWS = pd.DataFrame()


@dataclasses.dataclass(frozen=True)
class Facts:
    """Everything that the pages read from a folder of results; what is not there is empty."""

    results: Path

    @functools.cached_property
    def rules(self) -> dict[str, Row]:
        """Rule -> its row of rules.csv: kappa and so on."""
        return {str(row["rule"]): row for row in _rows(self.results / "rules" / "rules.csv")}

    @functools.cached_property
    def errors(self) -> dict[str, Row]:
        """Rule -> its row of learned.csv: the error under each of several attacks."""
        return {str(row["rule"]): row for row in _rows(self.results / "rules" / "learned.csv")}

    @functools.cached_property
    def times(self) -> dict[str, dict[str, Row]]:
        """Rule -> shape -> its measurement in the benchmark's last run; `what` has the options that were timed."""
        path = self.results / "bench" / "ours.jsonl"
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
        rules = [each for each in lines if each["part"] == "rules" and each["other"] == "one read"]
        last = max((each["date"] for each in rules), default="")
        found: dict[str, dict[str, Row]] = {}
        for each in rules:
            if each["date"] == last:
                found.setdefault(each["what"].partition("(")[0], {})[each["shape"]] = each
        return found

    @functools.cached_property
    def growth(self) -> pd.DataFrame:
        """Times against m and d, as `byzsim bench scaling` wrote them."""
        path = self.results / "bench" / "scaling.csv"
        return pd.read_csv(path, keep_default_na=False, na_values={"ms": [""]}) if path.is_file() else NO_ROWS

    def line(self, rule: str, along: str) -> pd.DataFrame:
        """The measured times of a rule along m or d."""
        return self.growth if self.growth.empty else scaling.line_of(self.growth, rule, along, scaling.Scaling())

    def slope(self, rule: str, along: str) -> scaling.Slope | None:
        """The fitted exponent of a rule's time in m or d."""
        return None if self.growth.empty else scaling.slope_of(self.growth, rule, along, scaling.Scaling())

    @functools.cached_property
    def runs(self) -> dict[str, pd.DataFrame]:
        """Folder -> its valid records, a row for each run, where rules were attacked and the accuracy was measured."""
        found = {}
        for path in sorted(self.results.glob("*/runs.jsonl")):
            if "+" not in path.parent.name:
                frame = load_results(path.parent, log=lambda line: None)
                if "final_accuracy" in frame:
                    found[path.parent.name] = frame
        return found


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.to_dict("records")  # type: ignore[return-value]


def time_text(ms: float) -> str:
    """A time in milliseconds with three digits."""
    return f"{ms:.3g} ms" if ms < 1000 else f"{ms / 1000:.3g} s"
