"""What `byzsim show NAME` prints: all that is known of a rule, an attack, a model, a data set or a table."""

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import tyro
from byzsim import AGGREGATORS, ATTACKS, MODELS, MODIFIERS, PREAGGREGATORS, Spec
from byzsim.experiments import arguments, plugins
from byzsim.experiments.datasets import DATASETS
from byzsim.experiments.errors import unknown
from byzsim.names import canonical
from byzsim.options import allowed
from byzsim.types import ATTACK_TRAITS, RULE_TRAITS

ZOOS: dict[str, Mapping[str, Spec]] = {
    "aggregation rule": AGGREGATORS,
    "preaggregator": PREAGGREGATORS,
    "attack": ATTACKS,
    "modifier of attacks": MODIFIERS,
    "model": MODELS,
}
ASKED = {  # how each kind is named on the command line, and in Python
    "aggregation rule": ("--rules {}", 'byzsim.aggregate("{}", gradients, f=2{})'),
    "preaggregator": ("--rules {}+krum", 'byzsim.aggregate("{}+krum", gradients, f=2{})'),
    "attack": ("--attacks {}", 'byzsim.forge("{}", honest, n_byz=2{})'),
    "modifier of attacks": ("--attacks {}+alie", 'byzsim.forge("{}+alie", honest, n_byz=2{})'),
    "model": ("--model {}", 'byzsim.simulate(train, test, model="{}"{})'),
}
SIZES = (20, 11)  # workers, in examples of bounds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Show:
    """Say all that is known of rules, preaggregators, attacks, modifiers, models, data sets and tables."""

    names: tyro.conf.Positional[tuple[str, ...]]
    """as byzsim list has them; nnm+krum shows both"""
    plugins: tuple[str, ...] = ()
    """modules with rules and attacks of your own"""


def pages(args: list[str]) -> Iterator[str]:
    """The lines for these arguments.

    Raises:
        UserError: for a name that nothing has, with the nearest ones.
    """
    given = arguments.parsed(Show, args, prog="byzsim show")
    plugins.load(given.plugins)
    for name in (part for each in arguments.split(given.names) for part in each.split("+")):
        yield from _page(name)


def _page(name: str) -> Iterator[str]:
    from byzsim.experiments.tables import TABLES  # with pandas

    name = canonical(name)
    for kind, zoo in ZOOS.items():
        if name in zoo:
            return _member(kind, name, zoo[name])
    if name in DATASETS:
        return _dataset(name)
    if name in TABLES:
        return _table(TABLES[name])
    known = {each for zoo in (*ZOOS.values(), DATASETS, TABLES) for each in zoo}
    raise unknown("name", name, known)


def _member(kind: str, name: str, spec: Spec) -> Iterator[str]:
    shell, python = ASKED[kind]
    yield f"{name}: {kind}. Source: {spec.source}."
    yield f"\n{_without_fences(inspect.getdoc(spec.factory) or 'It has no description.')}\n"
    yield f"Command line: {shell.format(name)}"
    yield f"Python:       {python.format(name, '')}"
    yield from _options(name, spec)
    yield from _variants(kind, name, spec)
    if kind in ("aggregation rule", "preaggregator") and spec.max_f is not Spec._field_defaults["max_f"]:
        bounds = ", ".join(f"f = {spec.max_f(m)} of m = {m} workers" for m in SIZES)
        yield f"\nGuaranteed up to {bounds}, with its defaults."
    if spec.cost:
        yield f"Cost: of the order of {spec.cost}."
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
        yield "It has no options."
        return
    yield f"\nOptions, as --options {name}.{options[0].name}={options[0].default} or as keywords in Python:"
    for each in options:
        yield f"  {f'{each.name} = {each.default!r}':<26}  {words.get(each.name, '')}".rstrip()


def _variants(kind: str, name: str, spec: Spec) -> Iterator[str]:
    shell, python = ASKED[kind]
    if spec.variants:
        yield "\nVariants: definitions that go by this name, the default first."
    for each in spec.variants:
        chosen = " ".join(f"{name}.{option}={value}" for option, value in each.options.items())
        single = "".join(f", {option}={value!r}" for option, value in each.options.items())
        before = kind in ("preaggregator", "modifier of attacks")  # in Python the variant is that of the part after it
        yield f"  {each.name}: {each.formula}  [{each.source}]"
        yield f"      {shell.format(name)} --options {name}.variant={each.name}"
        yield f"      {python.format(name, single if before else f', variant={each.name!r}')}"
        if each.options != {"variant": each.name}:
            yield f"      in single options: {chosen or 'all as by default'}"


def _dataset(name: str) -> Iterator[str]:
    spec = DATASETS[name]
    yield f"{name}: data set. Source: {spec.source}."
    yield f"\n{spec.summary}\n"
    yield f"Command line: --data {name}; byzsim data {name} gets it and says where it comes from."
    yield ""


def _table(table: Any) -> Iterator[str]:
    yield f"{table.name}: table. {table.title}. Source: {table.source}."
    yield f"\n{inspect.getdoc(sys.modules[f'byzsim.experiments.tables.{table.name}'])}\n"
    yield f"Command line: byzsim run {table.name}; what each of these means: byzsim run {table.name} --help"
    for field in dataclasses.fields(table.config):
        value = getattr(table.config, field.name)
        yield f"  {field.name} = {' '.join(map(str, value)) if isinstance(value, tuple) else value}"
    yield ""
