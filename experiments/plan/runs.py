"""The runs of a table: every position of its axes, and the `RunConfig` that stands there."""

import dataclasses
import functools
import inspect
import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from byzsim import RunConfig
from byzsim.experiments.datasets import NO_DATA, held_out
from byzsim.experiments.errors import UserError, unknown
from byzsim.experiments.plan import alphas
from byzsim.experiments.plan.options import by_name, of_member
from byzsim.experiments.plan.table import (
    DEFAULT_DATA,
    FIELDS,
    NAMED,
    NUMBER,
    Axis,
    Fields,
    Label,
    Position,
    Table,
    axis,
    positions,
)
from byzsim.names import BUILT_IN, canonical
from byzsim.run_config import NO_MODEL
from byzsim.tasks import TASKS

Chosen = Mapping[tuple[Label, ...], Label]
"""settings of the shown axes but `worst_over` -> the chosen setting of the axis `choose`"""
SAME = {"alpha": "n_byz", "declared_f": "f"}
"""fields that set another one"""


class Planned(NamedTuple):
    """A run, and a position in the table where it stands."""

    position: Position
    data: str
    config: RunConfig


def expand(table: Table, only: Sequence[str] = (), chosen: Chosen | None = None) -> list[Planned]:
    """Every position of a table with its run, seeds outermost. Equal runs at several positions are one run.

    Args:
        only: conditions such as "rule=krum,attack=gaussian"; values of one axis are alternatives.
        chosen: of a table that chooses; positions of which nothing is chosen are left out.
    Raises:
        UserError: for a table, a name, a number or a combination that cannot be run, or conditions that no run meets.
    """
    check(table)
    wanted = _conditions(only, table)
    planned = [
        _planned(table, position)
        for position in _positions(table, chosen or {})
        if all(position.get(name, table.base.get(name, 0)) in labels for name, labels in wanted.items())
    ]
    if not planned and not table.choose:
        raise UserError(f"no runs: none meets --only {' '.join(only)}")
    if not only:
        _refuse_equal_settings(table, planned)
    return planned


def _positions(table: Table, chosen: Chosen) -> Iterator[Position]:
    """Seeds outermost; of a table that chooses, with the settings that it has chosen."""
    for position in filter(table.where, positions(table, [*table.averaged, *table.shown])):
        if not table.choose:
            yield position
        elif (label := chosen.get(group(table, position))) is not None:
            yield {**position, table.choose: label}


def runs(table: Table, only: Sequence[str] = (), chosen: Chosen | None = None) -> list[tuple[str, RunConfig]]:
    """The data set and the configuration of each different run."""
    unique = {_text(each): (each.data, each.config) for each in expand(table, only, chosen)}
    return list(unique.values())


def group(table: Table, position: Position) -> tuple[Label, ...]:
    """The part of a position for which one setting of the axis `choose` is chosen."""
    return tuple(position[name] for name in table.shown if name != table.worst_over)


def _text(run: Planned) -> str:
    return f"{run.data} {run.config!r}"


def fields_at(table: Table, position: Position) -> dict[str, Any]:
    """All that is set there: the base, and over it the settings."""
    fields = dict(table.base)
    for each in table.axes:
        if each.name in position:
            setting = each.settings[position[each.name]]
            set_now = {SAME.get(name, name) for name in setting}
            kept = {name: value for name, value in fields.items() if SAME.get(name, name) not in set_now}
            fields = kept | dict(setting)
    return fields


def _planned(table: Table, position: Position) -> Planned:
    fields = fields_at(table, position)
    try:
        config = _config(fields)
        data = _data(fields, config)
    except (ValueError, TypeError) as error:
        raise UserError(f"{error}{_own(*(str(fields.get(name)) for name in NAMED))}") from None
    return Planned(position, data, config)


def _config(fields: Fields) -> RunConfig:
    """Raises ValueError for values that cannot be used."""
    given: dict[str, Any] = {name: value for name, value in fields.items() if name in RunConfig.__dataclass_fields__}
    options = by_name({name: value for name, value in fields.items() if "." in name})
    if "alpha" in fields:
        given["n_byz"] = alphas.workers(fields["alpha"], given.get("m", RunConfig.m))
    if given.get("n_byz", 0) == 0:
        given["attack"], given["attack_args"] = "none", {}
    for kind in NAMED:
        name = given.get(kind, getattr(RunConfig, kind))
        if name is not None or kind == "model":
            prefix = "local_" if kind == "local_optimizer" else ""
            args = of_member(f"{prefix}{name or 'lenet'}", options)
            given[f"{kind}_args"] = {**given.get(f"{kind}_args", {}), **args}
    config = RunConfig(**given)
    declared = fields.get("declared_f", "true")
    if declared == "capped":
        return dataclasses.replace(config, f=min(config.n_byz, config.max_f))
    if isinstance(declared, float):
        return dataclasses.replace(config, f=round(declared * config.m))
    return config


def _data(fields: Fields, config: RunConfig) -> str:
    """The name of the data set of a run."""
    name = fields.get("data", DEFAULT_DATA)
    if _makes_examples(config.task, json.dumps(dict(config.task_args), default=str)):
        return NO_DATA
    if name == NO_DATA:
        raise ValueError(f"task {config.task} makes no examples of its own, so it needs a data set: data={NO_DATA!r}")
    return held_out(name, fields["held_out"]) if fields.get("held_out") else name


@functools.cache
def _makes_examples(task: str, args: str) -> bool:
    factory = TASKS[task].factory
    stand_ins = {"model": NO_MODEL, "n_classes": 2}
    needed = {name: value for name, value in stand_ins.items() if name in inspect.signature(factory).parameters}
    made = factory(**{**json.loads(args), **needed})
    return bool(made.generate or made.sample)


def _own(*names: str) -> str:
    """A hint if one of the names is not registered but is a module in the current folder."""
    parts = {part for name in names for part in name.split("+")} - BUILT_IN
    files = [part for part in sorted(parts) if part.isidentifier() and Path(f"{part}.py").is_file()]
    return f" This folder has {files[0]}.py: --plugins {files[0]} registers its SPEC." if files else ""


# What a table has to be


def check(table: Table) -> None:
    """Check all about a table that can be known without its runs.

    Raises:
        UserError: fields or axes that are not known, a field that two axes move, an axis without settings.
    """
    names = [each.name for each in table.axes]
    _refuse_duplicates("an axis", names)
    for each in table.axes:
        if not each.settings:
            raise UserError(f"no runs: the axis {each.name} has no settings")
        _check_fields(f"axis {each.name}", each.fields)
    _check_fields("the base", table.base)
    _check_fields("--quick", table.quick)
    moved = [(SAME.get(field, field), each.name) for each in table.axes for field in each.fields]
    for field, name in moved:
        others = {other for same, other in moved if same == field} - {name}
        if others:
            raise UserError(f"the axes {name} and {sorted(others)[0]} both set {field}: let one of them do so")
    _check_places(table, names)
    _check_options(table)


def _check_fields(where: str, fields: Collection[str]) -> None:
    for name in fields:
        if "." not in name and name not in FIELDS:
            raise unknown(f"field in {where}", name, FIELDS)


def _check_places(table: Table, names: Sequence[str]) -> None:
    places = [*itertools.chain(*table.places), *filter(None, [table.choose])]
    _refuse_duplicates("among rows, columns, panels and the chosen axis", places)
    for name in (*places, *filter(None, [table.worst_over])):
        if name not in names:
            raise unknown(f"axis of the table {table.name}", name, names)
    if not NUMBER.fullmatch(table.number):
        raise UserError(f"number={table.number!r}: expected last, best or mean_last_K, such as mean_last_5")
    if table.better not in (None, "higher", "lower"):
        raise unknown("better", table.better, ("higher", "lower"))


def _refuse_duplicates(where: str, names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise UserError(f"{where} is named twice: {name}")


def members(table: Table) -> set[str]:
    """The names of all that the table's runs use and that has options, with the parts of "nnm+krum"."""
    found = {"lenet"}
    for kind in NAMED:
        for fields in (table.base, *itertools.chain(*(each.settings.values() for each in table.axes))):
            name = canonical(str(fields.get(kind, getattr(RunConfig, kind))))
            prefix = "local_" if kind == "local_optimizer" else ""
            found |= {f"{prefix}{name}", *f"{prefix}{name}".split("+")}
    return found


def _check_options(table: Table) -> None:
    used = members(table)
    given = {*table.base, *itertools.chain(*(each.fields for each in table.axes))}
    for name in sorted({field.partition(".")[0] for field in given if "." in field}):
        if name not in used:
            raise unknown("name of this table in --options", name, sorted(used))


def _refuse_equal_settings(table: Table, planned: Sequence[Planned]) -> None:
    """Two settings of an axis that give the same runs wherever they stand."""
    attacked = [each for each in planned if each.config.n_byz] or planned
    for each in table.axes:
        if len(each.settings) > 1 and each.name != table.choose:
            seen: dict[str, Label] = {}
            for label, text in _signatures(table, each, attacked).items():
                first = seen.setdefault(text, label)
                if first != label:
                    raise UserError(f"axis {each.name}: the settings {first} and {label} give the same runs")


def _signatures(table: Table, moving: Axis, planned: Sequence[Planned]) -> dict[Label, str]:
    """Setting -> all of its runs, in order; the attack by its name also where nobody attacks."""
    found: dict[Label, list[str]] = {}
    for each in planned:
        attack = canonical(str(fields_at(table, each.position).get("attack")))
        found.setdefault(each.position[moving.name], []).append(f"{attack} {_text(each)}")
    return {label: " ".join(texts) for label, texts in found.items()}


def further_fields(table: Table) -> tuple[str, ...]:
    """The fields of a record, beside rule, attack, alpha and seed, in which the runs of a table differ by its axes."""
    found: list[str] = []
    for setting in itertools.chain(*(each.settings.values() for each in table.axes)):
        for name, options in by_name({field: value for field, value in setting.items() if "." in field}).items():
            found += [f"{name}.{option}" for option in of_member(name, {name: options})]
        found += [SAME.get(field, field) for field in setting if "." not in field]
    names = ["data" if name == "held_out" else name for name in found]
    return tuple(name for name in dict.fromkeys(names) if name not in ("rule", "attack", "n_byz", "seed"))


# Parts of a table


def _conditions(only: Sequence[str], table: Table) -> dict[str, set[Label]]:
    axes = {"seed": axis("seed", [table.base.get("seed", 0)])} | table.by_name
    wanted: dict[str, set[Label]] = {}
    for text in itertools.chain.from_iterable(part.split(",") for part in only):
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--only {text!r} is not of the form KEY=VALUE, such as rule=krum,attack=gaussian")
        if key not in axes:
            raise unknown("key in --only", key, axes)
        meant = _labels(axes[key], value)
        if not meant:
            raise unknown(
                f"{key} in --only", value, (f"{x:.4g}" if isinstance(x, float) else str(x) for x in axes[key].settings)
            )
        wanted.setdefault(key, set()).update(meant)
    return wanted


def _labels(of: Axis, text: str) -> Sequence[Label]:
    """The settings that are meant by the text."""
    exact = [label for label in of.settings if str(label) in (text, canonical(text))]
    return exact or alphas.nearest(text, [label for label in of.settings if isinstance(label, int | float)])
