"""What had other names in earlier versions: records, failures, config.json and names of folders are read by these.

Files stay as they were written: whoever reads them sees today's names, and the id that today's names give.
"""

from collections.abc import Mapping
from typing import Any

from byzsim.experiments.records.identities import Record, deciding, identifier
from byzsim.names import canonical
from byzsim.renamed import renamed as renamed_option

FIELDS = {"sharding": "partition"}
"""of a run: old -> new"""
SETTINGS: dict[str, tuple[str, Mapping[str, str]]] = {"sharding": ("partition", {})}
"""of a table: old -> new, and those of its values that have other names, too"""


def current(found: Record) -> Record:
    """A record or a failure under today's names, in its order.

    Its id becomes the one that today's names give. One that its fields did not give before, as somebody has edited
    them, stays: so that is still to be seen.
    """
    renamed = {FIELDS.get(field, field): value for field, value in found.items()}
    for member in ("rule", "attack"):
        options = renamed.get(f"{member}_args")
        if isinstance(options, dict) and isinstance(renamed.get(member), str):
            renamed[f"{member}_args"] = dict(
                renamed_option(renamed[member], option, value) for option, value in options.items()
            )
    fields = deciding()
    before = {field: value for field, value in found.items() if FIELDS.get(field, field) in fields}
    if renamed != found and found.get("id") == identifier(before):
        renamed["id"] = identifier({field: value for field, value in renamed.items() if field in fields})
    return renamed


def current_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a table, as config.json or a folder's name has them, under today's names."""
    renamed: dict[str, Any] = {}
    for field, value in config.items():
        name, values = SETTINGS.get(field, (field, {}))
        renamed[name] = values.get(value, value) if isinstance(value, str) else value
    if isinstance(renamed.get("options"), list):
        renamed["options"] = [current_option(text) for text in renamed["options"]]
    return renamed


def current_option(text: Any) -> Any:
    """NAME.OPTION=VALUE under today's names; other text, which another will refuse, as it is."""
    target, equals, value = str(text).partition("=")
    name, dot, option = target.partition(".")
    if not (equals and dot):
        return text
    option, value = renamed_option(canonical(name), option, value)
    return f"{name}.{option}={value}"
