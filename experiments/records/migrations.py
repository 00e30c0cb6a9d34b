"""Names of earlier versions in records, failures, config.json and folder names, which are read as today's names.

Files are not rewritten: a reader gets today's names and the identifier that follows from them.
"""

from collections.abc import Mapping
from typing import Any

from byzsim.experiments.records.identities import Record, deciding, identifier
from byzsim.names import canonical
from byzsim.renamed import renamed as renamed_option

FIELDS: dict[str, str] = {"sharding": "partition"}
"""fields of a run: old name -> new name"""
ALPHA = "dirichlet_alpha"
SETTINGS: dict[str, tuple[str, Mapping[str, str]]] = {
    "sharding": ("partition", {}),
    "declared": ("declared_f", {"known": "true", "bounded": "capped"}),
}
"""settings of a table: old name -> new name, and new names of values"""


def current(found: Record) -> Record:
    """A record or a failure under today's names, with its order of fields.

    The identifier becomes that of today's names, unless it did not match the fields before: then the record was edited,
    and the mismatch stays visible.
    """
    renamed = _with_partition_args({FIELDS.get(field, field): value for field, value in found.items()})
    if isinstance(renamed.get("mode"), str):
        renamed["mode"] = renamed["mode"].replace("cell by cell", "run by run").replace(" cells under", " runs under")
    for member in ("rule", "attack"):
        options = renamed.get(f"{member}_args")
        if isinstance(options, dict) and isinstance(renamed.get(member), str):
            renamed[f"{member}_args"] = dict(
                renamed_option(renamed[member], option, value) for option, value in options.items()
            )
    fields = deciding()
    before = {name: value for name, value in found.items() if FIELDS.get(name, name) in fields or name == ALPHA}
    if renamed != found and found.get("id") == identifier(before):
        renamed["id"] = identifier({field: value for field, value in renamed.items() if field in fields})
    return renamed


def _with_partition_args(found: Record) -> Record:
    """The concentration of a Dirichlet partition was a field of its own, without a meaning for other partitions."""
    if ALPHA not in found:
        return found
    changed: Record = {}
    for field, value in found.items():
        if field != ALPHA:
            changed[field] = value
        elif found.get("partition") == "dirichlet":
            changed["partition_args"] = {"alpha": value}
    return changed


def current_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a table from config.json or from a folder's name, under today's names."""
    renamed: dict[str, Any] = {}
    for field, value in config.items():
        name, values = SETTINGS.get(field, (field, {}))
        renamed[name] = values.get(value, value) if isinstance(value, str) else value
    alpha = renamed.pop(ALPHA, None)
    if alpha is not None and renamed.get("partition") == "dirichlet":
        renamed["options"] = [*renamed.get("options", []), f"dirichlet.alpha={alpha}"]
    if isinstance(renamed.get("options"), list):
        renamed["options"] = [current_option(text) for text in renamed["options"]]
    return renamed


def current_option(text: Any) -> Any:
    """NAME.OPTION=VALUE under today's names; other text, which is rejected later, unchanged."""
    target, equals, value = str(text).partition("=")
    name, dot, option = target.partition(".")
    if not (equals and dot):
        return text
    option, value = renamed_option(canonical(name), option, value)
    return f"{name}.{option}={value}"
