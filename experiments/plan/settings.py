"""What the command line says about a table: a value for a field, or several, which make an axis."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from byzsim import RunConfig
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import alphas
from byzsim.experiments.plan.options import parse, shortest, texts
from byzsim.experiments.plan.runs import SAME
from byzsim.experiments.plan.table import DEFAULT_DATA, FIELDS, NAMED, Axis, Table, axis, label_of
from byzsim.names import canonical
from byzsim.run_config import takes_model
from byzsim.tasks import TASKS

PLURALS = {"rule": "rules", "attack": "attacks", "alpha": "alphas", "seed": "seeds"}
"""fields that have another name on the command line"""
ARGS = frozenset(f"{kind}_args" for kind in NAMED)
"""fields that are set by --options"""
NAMES = {
    PLURALS.get(field, field): field
    for field in (*PLURALS, *(name for name in FIELDS if name not in ARGS and name not in PLURALS))
}
"""each setting of the command line, in order, but --options: name -> field"""
OWN_DEFAULTS: dict[str, Any] = {"data": DEFAULT_DATA, "declared_f": "true", "held_out": 0.0}
Settings = Mapping[str, Sequence[Any]]
"""name -> values: of one value a field has it in all runs; several make an axis"""


def settings(table: Table) -> dict[str, tuple[Any, ...]]:
    """What a table has, in the words of the command line; what no word says, such as another axis, by its labels."""
    found = {name: _values(table, field) for name, field in NAMES.items()}
    found |= {
        each.name: tuple(each.settings) for each in table.axes if each.name not in FIELDS and "." not in each.name
    }
    return found | {"options": _options(table)}


def _values(table: Table, field: str) -> tuple[Any, ...]:
    if known := table.by_name.get(field):
        return tuple(known.settings)
    value = table.base.get(field, _default(field))
    if field == "byzantine":
        return tuple(value or ())
    others = {same for name, same in SAME.items() if name == field} | {name for name in SAME if SAME[name] == field}
    if field in ("alpha", "n_byz") and field not in table.base and (field == "alpha" or others & _moved(table)):
        return ()
    return (value,)


def _moved(table: Table) -> set[str]:
    return {field for each in table.axes for field in each.fields}


def _default(field: str) -> Any:
    return OWN_DEFAULTS.get(field, getattr(RunConfig, field, None))


def _options(table: Table) -> tuple[str, ...]:
    several = [each for each in table.axes if "." in each.name]
    lists = [f"{each.name}={','.join(texts({'': value})[0][1:] for value in each.settings)}" for each in several]
    return (*texts(shortest({name: value for name, value in table.base.items() if "." in name})), *lists)


def override(table: Table, changes: Settings) -> Table:
    """The table with these settings in place of its own; an axis of a name takes the place of the table's.

    Labels of the table's axis mean its settings, and other values that field: so "--rules double krum" has both.

    Raises:
        UserError: for a value that is given twice, no value, or a field that another axis of the table sets.
    """
    fields = {NAMES.get(name, name): values for name, values in changes.items() if name != "options"}
    fields |= parse(changes.get("options", ()))
    base, axes = dict(table.base), {each.name: each for each in table.axes}
    for field, values in fields.items():
        _refuse_bad_list(field, values)
        _refuse_moved(field, axes.values())
        base = {name: value for name, value in base.items() if name == field or _same(name) != _same(field)}
        if field == "byzantine":
            base[field] = tuple(values)
        elif len(values) == 1 and field not in axes:
            base[field] = _named(field, values[0])
        else:
            axes[field] = _axis(field, values, axes.get(field))
    tasks = [name for name in fields.get("task", ()) if name in TASKS]
    if "task" in fields and "model" not in fields and not any(map(takes_model, tasks)):
        base.pop("model", None)
    return in_canonical_form(dataclasses.replace(table, base=base, axes=tuple(axes.values())))


def _named(field: str, value: Any) -> Any:
    return canonical(value) if field in ("rule", "attack") else value


def _axis(field: str, values: Sequence[Any], known: Axis | None) -> Axis:
    own = known.settings if known else {}
    fresh = axis(field, [_named(field, value) for value in values])
    return Axis(field, {key: own.get(key, setting) for key, setting in fresh.settings.items()})


def _refuse_bad_list(field: str, values: Sequence[Any]) -> None:
    option = f"--options {field}" if "." in field else f"--{PLURALS.get(field, field).replace('_', '-')}"
    if not values:
        raise UserError(f"no runs: {option} is empty")
    labels = [label_of(_named(field, value)) for value in values]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            more = ". To compare variants of one, list them: --options krum.variant=blanchard2017,byzfl"
            raise UserError(f"{option} has {label} twice{more if field in NAMED else ''}")


def _same(field: str) -> str:
    """The field that it sets."""
    return SAME.get(field, field)


def _refuse_moved(field: str, axes: Iterable[Axis]) -> None:
    for each in axes:
        if each.name != field and _same(field) in map(_same, each.fields):
            raise UserError(
                f"the table's axis {each.name} sets {field}, too. Choose among its settings with --only "
                f"{each.name}=...: {', '.join(map(str, each.settings))}"
            )


def in_canonical_form(table: Table) -> Table:
    """With options in the fewest words, and fractions that are whole numbers of workers; so equal tables are equal."""
    options = shortest({name: value for name, value in table.base.items() if "." in name})
    base = {name: value for name, value in table.base.items() if "." not in name} | options
    if not (of := table.by_name.get("alpha")) or "m" in table.by_name:
        return dataclasses.replace(table, base=base)
    m = table.base.get("m", RunConfig.m)
    exact = {
        alphas.exact(label, m) if isinstance(label, float | int) else label: {
            **fields,
            **({"alpha": alphas.exact(fields["alpha"], m)} if "alpha" in fields else {}),
        }
        for label, fields in of.settings.items()
    }
    if len(exact) < len(of.settings):
        raise UserError(f"--alphas has a fraction of m={m} workers twice")
    return dataclasses.replace(
        table, base=base, axes=tuple(Axis(each.name, exact) if each is of else each for each in table.axes)
    )


def shortened(table: Table) -> Table:
    """The table with its quick settings."""
    return dataclasses.replace(table, base={**table.base, **table.quick})


def changed(before: Table, after: Table) -> list[str]:
    """What was changed of the runs, such as "lr 0.03 -> 0.1"; which settings of an axis there are changes no run."""
    old, new = settings(before), settings(after)
    ours = {PLURALS.get(each.name, each.name) for each in before.axes} | {"seeds"}
    pairs = {name: (old.get(name, ()), new.get(name, ())) for name in {**old, **new} if name not in ours}
    return [
        f"{name} {_text(a)} -> {_text(b)}"
        for name, (a, b) in pairs.items()
        if sorted(map(str, a)) != sorted(map(str, b))
    ]


def _text(values: Sequence[Any]) -> str:
    return " ".join(map(str, values)) or "none"
