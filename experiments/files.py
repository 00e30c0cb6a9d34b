"""Tables as CSV that any reader gets back as they were, `pandas.read_csv(path)` without options among them."""

import json
from typing import Any

import pandas as pd

MEMBERS = ("rule", "attack")
TAKEN = frozenset({"", "none", "null", "na", "n/a", "<na>", "#n/a", "true", "false"})  # for something else than text


def text(frame: pd.DataFrame, float_format: str | None = None) -> str:
    """CSV with floats in full, or as said. Lists and dicts are JSON.

    A rule or attack whose name readers take for something else, as the attacks nan, inf and none, is written with what
    it is: "nan (attack)".
    """
    safe = {name: [_member(value, name) for value in frame[name]] for name in MEMBERS if name in frame}
    nested = {name: frame[name].map(_flat) for name in frame if frame[name].map(_is_nested).any()}
    return frame.assign(**safe, **nested).to_csv(index=False, float_format=float_format)


def _member(name: str, kind: str) -> str:
    return f"{name} ({kind})" if _is_taken(name) else name


def _is_taken(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return name.lower() in TAKEN
    return True  # a number, or nan or inf


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | dict)


def _flat(value: Any) -> Any:
    return json.dumps(value) if _is_nested(value) else value
