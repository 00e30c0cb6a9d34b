"""Options that had other names: records of earlier versions are read by this table, and whoever types one is told."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Renamed(NamedTuple):
    """What an option is called now."""

    name: str
    values: Mapping[str, str] = {}
    """those of its values that have other names, too: old -> new"""


_SEARCH = {"byzantine_momentum": "up_and_down", "byzfl": "up"}
RENAMED: dict[str, dict[str, Renamed]] = {
    "aksel": {"mode": Renamed("count", {"mid": "half", "n-f": "m-f"})},
    "brsgd": {"reading": Renamed("variant")},
    "bulyan": {"definition": Renamed("krum_variant"), "second": Renamed("second_stage")},
    "iterative_filtering": {"definition": Renamed("variant")},
    "krum": {"definition": Renamed("variant")},
    "mda": {"search": Renamed("subsets", {"exact": "all", "ball": "balls"})},
    "multi_krum": {"definition": Renamed("variant")},
    "safeguard": {"threshold": Renamed("thresholds")},
    "signguard": {"definition": Renamed("variant")},
    "zeno": {"norm": Renamed("penalty")},
    "alie": {"formula": Renamed("supporters")},
    "byzmean": {"definition": Renamed("variant")},
    "fang_krum": {"through": Renamed("selected_by", {"rule": "rule_in_use"})},
    "gaussian": {"mode": Renamed("noise")},
    "inner_product": {"convention": Renamed("coefficient", {"negated": "-epsilon", "one_minus": "1-epsilon"})},
    "min_max": {"search": Renamed("line_search")},
    "min_sum": {"search": Renamed("line_search"), "reference": Renamed("bound")},
    "negation": {"reading": Renamed("variant")},
    "optimal_alie": {"search": Renamed("line_search", _SEARCH)},
    "optimal_inner_product": {
        "search": Renamed("line_search", _SEARCH),
        "convention": Renamed("coefficient", {"negated": "-x", "one_minus": "1-x"}),
    },
    "safeguard_attack": {"of": Renamed("gradient")},
    "scaling": {"of": Renamed("gradient")},
    "sign_flip": {"of": Renamed("gradient")},
}
"""Member -> an option's old name -> its new one. No old name may come back for another meaning."""


def renamed(name: str, option: str, value: Any) -> tuple[str, Any]:
    """What an option of a member, or of a part of "nnm+krum", and its value are called now: mostly as they were."""
    for part in name.split("+"):
        if new := RENAMED.get(part, {}).get(option):
            return new.name, new.values.get(value, value) if isinstance(value, str) else value
    return option, value
