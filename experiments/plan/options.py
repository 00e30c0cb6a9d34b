"""Options of rules, attacks and all else that has a name, written as NAME.OPTION=VALUE."""

import ast
import contextlib
import inspect
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from byzsim import AGGREGATORS, Spec
from byzsim.experiments.errors import UserError
from byzsim.names import REGISTRIES, attack_spec, canonical, registered, rule_spec
from byzsim.options import options as filled
from byzsim.options import resolved
from byzsim.run_config import NO_MODEL

CONSTANTS = {"True": True, "False": False, "None": None}
Options = Mapping[str, Any]  # "krum.variant" -> value


def parse(texts: Sequence[str]) -> dict[str, list[Any]]:
    """{"gaussian.sigma": [100, 200]} from ("gaussian.sigma=100,200",): commas outside brackets separate values.

    Raises:
        UserError: for text of another form, an option that is given twice, or text for a number.
    """
    given: dict[str, list[Any]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        name, dot, option = target.partition(".")
        name = canonical(name)
        if not (equals and dot and option and value):
            raise UserError(f"--options {text!r} is not of the form NAME.OPTION=VALUE, such as gaussian.sigma=100")
        if f"{name}.{option}" in given:
            raise UserError(f"--options has {name}.{option} twice")
        values = [literal(each) for each in re.split(r",(?![^\[(]*[\])])", value)]
        for each in values:
            _check(name, option, each)
        given[f"{name}.{option}"] = values
    return given


def texts(options: Options) -> tuple[str, ...]:
    """As on the command line, in order."""
    return tuple(f"{name}={_shortest(value)}" for name, value in sorted(options.items()))


def shortest(options: Options) -> dict[str, Any]:
    """The options in a canonical form: variants as single options, without defaults, sorted.

    Options that a member would reject stay unchanged.
    """
    try:
        return {
            f"{name}.{option}": value
            for name, given in sorted(by_name(options).items())
            for option, value in sorted(_not_default(name, given).items())
        }
    except (ValueError, KeyError, UserError):
        return dict(options)


def by_name(options: Options) -> dict[str, dict[str, Any]]:
    """{"krum": {"variant": "byzfl"}} from {"krum.variant": "byzfl"}."""
    given: dict[str, dict[str, Any]] = {}
    for key, value in options.items():
        name, _, option = key.partition(".")
        given.setdefault(name, {})[option] = value
    return given


def of_member(member: str, given: Mapping[str, Options]) -> dict[str, Any]:
    """The options of a member, or of a chain such as "nnm+krum": those of its parts, then its own; variants resolved.

    Args:
        given: from `by_name`.
    Raises:
        UserError: for an unknown variant.
    """
    found: dict[str, Any] = {}
    for part in dict.fromkeys((*member.split("+"), member)):
        found |= _resolved(part, given.get(part, {}))
    return found


def _resolved(name: str, given: Options) -> dict[str, Any]:
    """With a variant of a member, or of the last of several, as its options: each part has a variant of its own."""
    last = name.rpartition("+")[2]
    for spec in (zoo[last] for zoo in REGISTRIES if last in zoo):
        try:
            return dict(resolved(name, spec.factory, spec.variants, given))
        except ValueError as error:
            raise UserError(f"--options: {error}") from None
    return dict(given)


def _shortest(value: Any) -> str:
    """The shortest text that is parsed as this value: 100 for 100.0, which a real-valued option converts back."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if not isinstance(value, float) or float(text) == value else repr(value)


def _not_default(name: str, given: Options) -> dict[str, Any]:
    spec = _spec(name)
    ours, defaults = (filled(name, spec, each, stand_ins={"model": NO_MODEL}) for each in (given, {}))
    return {option: value for option, value in ours.items() if value != defaults[option]}


def _spec(name: str) -> Spec:
    """Of the rule, attack, preaggregator, modifier, model, partition or task of that name."""
    last = name.rpartition("+")[2]
    if "+" in name:
        return rule_spec(name) if last in AGGREGATORS else attack_spec(name)
    return registered()[name]


def _check(name: str, option: str, value: Any) -> None:
    """A member that does not check its options itself is not to get words for a number.

    Raises:
        UserError: for text where the option takes none, as far as its default and its annotation say.
    """
    for parameter in (each for part in name.split("+") for each in _parameters(part) if each.name == option):
        default = parameter.default
        kind = "True or False" if isinstance(default, bool) else "a number"
        odd = isinstance(value, tuple) if _takes_text(parameter) else isinstance(value, str | tuple)
        if odd and isinstance(default, bool | int | float):
            raise UserError(f"{name}: {option}={value!r} is not {kind}, as in --options {name}.{option}={default}")


def _parameters(name: str) -> list[inspect.Parameter]:
    """Of the factory of a member."""
    made = (zoo[name].factory for zoo in REGISTRIES if name in zoo)
    return [each for make in made for each in inspect.signature(make).parameters.values()]


def _takes_text(parameter: inspect.Parameter) -> bool:
    hint = parameter.annotation
    if isinstance(hint, str):  # as the user wrote it, not evaluated
        return "str" in hint or "Literal" in hint
    return isinstance(parameter.default, str) or any(each is str for each in _types(hint))


def _types(hint: Any) -> Iterator[Any]:
    """The types that a hint allows, including those of literals."""
    if typing.get_origin(hint) is Literal:
        yield from map(type, typing.get_args(hint))
    else:
        yield hint
        for part in typing.get_args(hint):
            yield from _types(part)


def literal(text: str) -> Any:
    """The number, True, False, None or list that the text is; any other text stays text."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    for kind in (int, float, _sequence):
        with contextlib.suppress(ValueError, SyntaxError):
            return kind(text)
    return text


def _sequence(text: str) -> tuple[Any, ...]:
    if text[0] not in "[(":
        raise ValueError
    return tuple(ast.literal_eval(text))
