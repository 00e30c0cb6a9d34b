"""`byzsim show`: everything about a member of any kind, a schedule or a table."""

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import tyro
from byzsim import AGGREGATORS, ATTACKS, MODELS, MODIFIERS, PARTITIONS, PREAGGREGATORS, TASKS, Spec, schedules
from byzsim.experiments import arguments, plugins
from byzsim.experiments.datasets import DATASETS
from byzsim.experiments.errors import UserError, unknown
from byzsim.names import canonical
from byzsim.options import allowed
from byzsim.types import ATTACK_TRAITS, RULE_TRAITS

ZOOS: dict[str, Mapping[str, Spec]] = {
    "aggregation rule": AGGREGATORS,
    "preaggregator": PREAGGREGATORS,
    "attack": ATTACKS,
    "modifier of attacks": MODIFIERS,
    "task": TASKS,
    "model": MODELS,
    "partition": PARTITIONS,
}
SELECTED_BY = {  # how each kind is named on the command line, and in Python
    "aggregation rule": ("--rules {}", 'byzsim.aggregate("{}", gradients, f=2{})'),
    "preaggregator": ("--rules {}+krum", 'byzsim.aggregate("{}+krum", gradients, f=2{})'),
    "attack": ("--attacks {}", 'byzsim.forge("{}", honest, n_byz=2{})'),
    "modifier of attacks": ("--attacks {}+alie", 'byzsim.forge("{}+alie", honest, n_byz=2{})'),
    "task": ("--task {}", 'byzsim.simulate(task="{}"{})'),
    "model": ("--model {}", 'byzsim.simulate(train, test, model="{}"{})'),
    "partition": ("--partition {}", 'byzsim.simulate(train, test, partition="{}"{})'),
}
SIZES = (20, 11)  # workers, in examples of bounds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Show:
    """Print all that is known of members of any kind, schedules and tables."""

    names: tyro.conf.Positional[tuple[str, ...]]
    """names as in byzsim list; nnm+krum shows both parts"""
    plugins: tuple[str, ...] = ()
    """files or modules with members of your own"""


def main(args: list[str]) -> None:
    """Print the page of each name.

    Raises:
        UserError: for an unknown name, with the nearest names.
    """
    if not args or (args[0].startswith("-") and not {"-h", "--help"} & {*args}):
        raise UserError("no name given: byzsim show NAME, where NAME is one that byzsim list prints")
    options = arguments.parse_args(Show, args, prog="byzsim show")
    plugins.load(options.plugins)
    for name in (part for each in arguments.split(options.names) for part in each.split("+")):
        for line in _page(name):
            print(line)


def _page(name: str) -> Iterator[str]:
    from byzsim.experiments.tables import TABLES  # imports pandas

    name = canonical(name)
    for kind, zoo in ZOOS.items():
        if name in zoo:
            return _member(kind, name, zoo[name])
    if name in DATASETS:
        return _dataset(name)
    if name in TABLES:
        return _table(TABLES[name])
    if name in schedules.known():
        return _schedule(name)
    known = {each for zoo in (*ZOOS.values(), DATASETS, TABLES, schedules.known()) for each in zoo}
    raise unknown("name", name, known)


def _member(kind: str, name: str, spec: Spec) -> Iterator[str]:
    shell, python = SELECTED_BY[kind]
    yield f"{name}: {kind}. Source: {spec.source}."
    yield f"\n{_without_fences(inspect.getdoc(spec.factory) or 'No description.')}\n"
    yield f"Command line: {shell.format(name)}"
    yield f"Python:       {python.format(name, '')}"
    yield from _options(name, spec)
    yield from _variants(kind, name, spec)
    if kind in ("aggregation rule", "preaggregator") and spec.max_f is not Spec._field_defaults["max_f"]:
        bounds = ", ".join(f"f <= {spec.max_f(m)} for m = {m} workers" for m in SIZES)
        yield f"\nGuaranteed for {bounds}, with the defaults."
    if spec.cost:
        yield f"Cost: O({spec.cost})."
    words = ATTACK_TRAITS if kind in ("attack", "modifier of attacks") else RULE_TRAITS
    if spec.traits:
        yield f"With its defaults: {'; '.join(words[each] for each in sorted(spec.traits))}."
    yield ""


def _without_fences(text: str) -> str:
    """Formulas indented, in place of the fences that Markdown has around them."""
    return re.sub(r"```text\n(.*?)```\n?", lambda block: textwrap.indent(block[1], "    "), text, flags=re.DOTALL)


def _options(name: str, spec: Spec) -> Iterator[str]:
    words = allowed(spec.factory)
    options = [each for each in inspect.signature(spec.factory).parameters.values() if each.default is not each.empty]
    if not options:
        yield "No options."
        return
    yield f"\nOptions, as --options {name}.{options[0].name}={options[0].default} or as keywords in Python:"
    for each in options:
        yield f"  {f'{each.name} = {each.default!r}':<26}  {words.get(each.name, '')}".rstrip()


def _variants(kind: str, name: str, spec: Spec) -> Iterator[str]:
    shell, python = SELECTED_BY[kind]
    if spec.variants:
        yield "\nVariants: the definitions that have this name, the default first."
    for each in spec.variants:
        chosen = " ".join(f"{name}.{option}={value}" for option, value in each.options.items())
        single = "".join(f", {option}={value!r}" for option, value in each.options.items())
        prefix = kind in ("preaggregator", "modifier of attacks")  # in Python the variant is that of the part after it
        yield f"  {each.name}: {each.formula}  [{each.source}]"
        yield f"      {shell.format(name)} --options {name}.variant={each.name}"
        yield f"      {python.format(name, single if prefix else f', variant={each.name!r}')}"
        if each.options != {"variant": each.name}:
            yield f"      in single options: {chosen or 'the defaults'}"


def _dataset(name: str) -> Iterator[str]:
    spec = DATASETS[name]
    yield f"{name}: data set. Source: {spec.source}."
    yield f"\n{spec.summary}\n"
    yield f"Command line: --data {name}; byzsim data {name} loads it and prints its source."
    yield ""


def _schedule(name: str) -> Iterator[str]:
    made = schedules.known()[name]
    options = {key: each for key, each in inspect.signature(made).parameters.items() if key not in schedules.FIRST}
    source = "byzsim" if name in schedules.OURS else "optax"
    yield f"{name}: schedule of the learning rate, as a factor on lr. Source: {source}."
    yield f"\n{inspect.getdoc(inspect.unwrap(getattr(made, 'func', made)))}\n"
    shown = (f"{key}" if each.default is each.empty else f"{key} = {each.default}" for key, each in options.items())
    yield f"Options: {', '.join(shown)}"
    yield f"Command line: --schedule {name}"
    yield f'Python:       byzsim.simulate(train, test, schedule="{name}", schedule_args=...)'
    yield ""


def _table(table: Any) -> Iterator[str]:
    yield f"{table.name}: table. {table.title}. Source: {table.source}."
    if described := inspect.getdoc(sys.modules.get(f"byzsim.experiments.tables.{table.name}")):
        yield f"\n{described}\n"
    yield f"Command line: byzsim run {table.name}; the meaning of each setting: byzsim run {table.name} --help"
    for axis in table.axes:
        yield f"  axis {axis.name}: {' '.join(map(str, axis.settings))}"
    for name, value in table.base.items():
        yield f"  {name} = {value}"
    yield ""
