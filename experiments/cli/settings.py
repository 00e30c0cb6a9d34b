"""The options of the command line that change a table: one for each field of `RunConfig`, from its own definition."""

import dataclasses
import types
import typing
from typing import Annotated, Any, Literal

import tyro
from byzsim import RunConfig
from byzsim.experiments.errors import UserError
from byzsim.experiments.meanings import meanings
from byzsim.experiments.plan import Table, alphas, settings
from byzsim.experiments.plan.settings import NAMES, PLURALS
from byzsim.experiments.plan.table import OWN_FIELDS
from tyro.constructors import PrimitiveConstructorSpec


def _read_alpha(words: list[str]) -> float:
    try:
        return alphas.fraction(words[0])
    except ValueError as error:
        raise UserError(f"--alphas: {error}") from None  # tyro's own message would be shorter


Alpha = Annotated[
    float,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="FRACTION",
        instance_from_str=_read_alpha,
        is_instance=lambda given: isinstance(given, float | int),
        str_from_instance=lambda given: [f"{given:.4g}"],
    ),
]
TYPES: dict[str, Any] = {"data": str, "alpha": Alpha, "held_out": float, "declared_f": Literal["true", "capped"]}
WORDS = {
    "rule": "aggregation rules, the table's columns",
    "attack": "attacks, the table's rows",
    "alpha": "Byzantine fractions, as a number (0.2) or as a count of m workers (2/11); alpha times m has to be whole",
    "seed": "one run for each; equal seeds give equal shards, batches and initial parameters in every run",
}
OPTIONS = (
    "options of a rule, an attack, the model, the task, the partition, the schedule or the optimizer, such as "
    "krum.variant=byzfl gaussian.sigma=100 lenet.padding=0; values with commas between them are an axis"
)


def _options() -> list[tuple[str, Any, Any]]:
    """(name, type, field) of each option: every one takes one or more values."""
    hints, said = typing.get_type_hints(RunConfig), meanings(RunConfig) | OWN_FIELDS | WORDS
    found = []
    for name, field in NAMES.items():
        kind = TYPES.get(field, hints.get(field))
        if field == "byzantine":
            kind = int
        alias = [f"--{field.replace('_', '-')}"] if field in PLURALS else []
        described = tyro.conf.arg(help=said.get(field, ""), aliases=alias, metavar=_metavar(kind))
        found.append((name, Annotated[tuple[kind, ...], described], dataclasses.field(default=())))
    option = Annotated[tuple[str, ...], tyro.conf.arg(help=OPTIONS, metavar="NAME.OPTION=VALUE ...")]
    return [*found, ("options", option, dataclasses.field(default=()))]


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    choices = [str(each) for each in typing.get_args(kind)] if typing.get_origin(kind) is Literal else []
    word = "|".join(choices) or {int: "INT", float: "FLOAT", bool: "True|False", Alpha: "FRACTION"}.get(kind, "NAME")
    return f"{word} ..."


Settings: Any = dataclasses.make_dataclass("Settings", _options(), frozen=True, kw_only=True)
"""Any field of a run: one value, or several, which make an axis of the table."""


def of(table: Table) -> Any:
    """A table's own settings. A labelled setting of an axis is its label, where the field takes text; else left out."""
    known = settings(table)
    return Settings(**{name: known[name] if _fits(name, known[name]) else () for name in (*NAMES, "options")})


def _fits(name: str, values: tuple[Any, ...]) -> bool:
    hint = typing.get_type_hints(Settings)[name]
    kind = typing.get_args(hint)[0]
    allowed = typing.get_args(kind) if typing.get_origin(kind) in (types.UnionType, typing.Union) else (kind,)
    plain = tuple(float if each is float else each for each in allowed if isinstance(each, type))
    numbers = (int, float) if float in plain else ()
    return typing.get_origin(kind) is Literal or all(isinstance(value, (*plain, *numbers)) for value in values)


def given(table: Table, parsed: Any) -> dict[str, tuple[Any, ...]]:
    """The settings that differ from those of the table."""
    own = of(table)
    return {name: getattr(parsed, name) for name in (*NAMES, "options") if getattr(parsed, name) != getattr(own, name)}
