"""Options of a factory: what each may be, what a named variant stands for, and the plain values that a run holds."""

import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union

import jax
import numpy as np
from byzsim.nearest import hint, unknown
from byzsim.renamed import renamed
from byzsim.types import Spec, Traced, Variant
from jax.core import Tracer

Args = Mapping[str, Any]
FLOAT32_MAX = float(np.finfo(np.float32).max)


class Within(NamedTuple):
    """A condition on a number, for `Annotated`: factories under `checked` refuse values outside."""

    words: str
    """as in: above 0"""
    holds: Callable[[Any], bool]


Count = Annotated[int, Within("of at least 1", lambda x: x >= 1)]
Natural = Annotated[int, Within("of at least 0", lambda x: x >= 0)]
Positive = Annotated[Traced, Within("above 0", lambda x: x > 0)]
NotNegative = Annotated[Traced, Within("of at least 0", lambda x: x >= 0)]
Fraction = Annotated[Traced, Within("above 0 and at most 1", lambda x: 0 < x <= 1)]


class Choice(NamedTuple):
    """One of the kinds of values that an option takes."""

    words: str
    holds: Callable[[Any], bool]


def checked(factory: FunctionType) -> Callable[..., Any]:
    """A factory that refuses what its annotations do not allow: other types, values outside a `Literal` or a `Within`.

    It also takes the name of a variant, krum(variant="byzfl"): one of those in the `SPEC` of its module.

    Raises:
        ValueError: with the option, what was given and what is known.
    """
    hints = {
        option: tuple(_choices(hint)) for option, hint in typing.get_type_hints(factory, include_extras=True).items()
    }

    @functools.wraps(factory)
    def checking(**options):
        spec = factory.__globals__.get("SPEC")  # made after the factory, so read when it is called
        variants = spec.variants if isinstance(spec, Spec) and spec.factory is checking else ()
        options = resolved(factory.__name__, factory, variants, options)
        for option, given in options.items():
            choices = hints.get(option, ())
            if choices and not any(choice.holds(given) for choice in choices):
                words = ", ".join(choice.words for choice in choices)
                raise ValueError(
                    f"{factory.__name__}: {option}={given!r} is not {'one of ' * (len(choices) > 1)}{words}"
                )
        return factory(**options)

    return checking


def allowed(factory: Callable[..., Any]) -> dict[str, str]:
    """Each option of a factory, and what it takes in words; no words for types that are not checked."""
    options = inspect.signature(factory).parameters.values()
    return {each.name: " or ".join(choice.words for choice in _choices(each.annotation)) for each in options}


def resolved(name: str, factory: Callable[..., Any], variants: Sequence[Variant], given: Args) -> Args:
    """The options with variant=NAME replaced by those that it stands for; what is given beside it goes first.

    A factory may have an option `variant`, which chooses between the variants of its `SPEC`; without such variants it
    is an option like any other.

    Args:
        name: the member's; of "nnm+krum" the last part is the one whose variant is meant.
    Raises:
        ValueError: for a name that is none of the variants, with the nearest ones and what each is; for an option that
            has another name now.
    """
    own = inspect.signature(factory).parameters
    for option in given:
        new, value = renamed(name, option, given[option])
        if option != new and option not in own:
            raise ValueError(f"{name}: the option {option!r} is called {new!r} now: {new}={value!r}")
    if "variant" not in given or ("variant" in own and not variants):
        return given
    name, asked, known = name.rpartition("+")[2], given["variant"], {each.name: each for each in variants}
    if not known:
        raise ValueError(f"{name} has no variants, got variant={asked!r}")
    if not isinstance(asked, str) or asked not in known:
        each = "; ".join(f"{variant.name}: {variant.formula}" for variant in variants)
        raise ValueError(f"unknown variant of {name} {asked!r}.{hint(asked, known)} Known: {each}.")
    return {**known[asked].options, **{key: value for key, value in given.items() if key != "variant"}}


def options(name: str, spec: Spec, given: Args, *, traced: bool = False) -> dict[str, Any]:
    """The factory's options with `given` laid over the defaults, all plain; an int given for a float becomes one.

    Args:
        given: options, or variant=NAME for those of one of the entry's variants, or both.
        traced: let values that are being traced by JAX pass, for options that are annotated as `Traced`.
    Raises:
        ValueError: for an option or a variant that the factory does not have, or a value that it refuses.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"options of {name} are {given!r}; expected a mapping such as {{'option': value}}")
    given = resolved(name, spec.factory, spec.variants, given)
    parameters = inspect.signature(spec.factory).parameters
    defaults = {key: each.default for key, each in parameters.items() if each.default is not each.empty}
    for key in given:
        if key not in defaults:
            raise ValueError(
                unknown(f"option of {name}", str(key), defaults) if defaults else f"{name} has no options, got {key!r}"
            )
    merged = {key: _plain(value, parameters[key]) for key, value in {**defaults, **given}.items()}
    for key, value in merged.items():
        if isinstance(value, np.ndarray | jax.Array):
            _check_array(f"{name}: {key}", value, traced and _is_real(parameters[key]))
        if isinstance(value, float | int) and not abs(value) <= (
            FLOAT32_MAX if isinstance(value, float) else 2**31 - 1
        ):
            shown = value if isinstance(value, float) else f"(a whole number of {value.bit_length()} bits)"
            raise ValueError(f"{name}: {key}={shown} is not a finite number of 32 bits")
    needs = [key for key in parameters if key not in defaults]
    try:
        spec.factory(
            **merged, **dict.fromkeys(needs, 2)
        )  # a factory checks its own options; models also need n_classes
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error
    return merged


def varying(factory: Callable[..., Any], given: Args) -> dict[str, Any]:
    """Those of the options that may vary inside one compiled program: numbers, where the factory says `Traced`.

    Where a factory says nothing, without annotations or with ones that are not evaluated, numbers with a point vary.
    """
    parameters = inspect.signature(factory).parameters
    numbers = {key: value for key, value in given.items() if isinstance(value, float | jax.Array)}
    return {key: value for key, value in numbers.items() if _is_real(parameters[key]) or _says_nothing(parameters[key])}


def plain(value: Any) -> Any:
    """A Python number for one of NumPy's and for an array of no dimension; all else, what is traced too, as it is."""
    array = isinstance(value, np.generic | np.ndarray | jax.Array) or hasattr(value, "detach")  # of torch
    return value.item() if array and np.ndim(value) == 0 and not isinstance(value, Tracer) else value


def _plain(value: Any, parameter: inspect.Parameter) -> Any:
    """`plain`, and a float where the parameter is a real number."""
    value = plain(value)
    return float(value) if _is_real(parameter) and type(value) is int and abs(value) <= FLOAT32_MAX else value


def _is_real(parameter: inspect.Parameter) -> bool:
    """By its default, or where that is none by its type."""
    return isinstance(parameter.default, float) or float in _members(parameter.annotation)


def _says_nothing(parameter: inspect.Parameter) -> bool:
    return parameter.annotation is parameter.empty or isinstance(parameter.annotation, str)


def _check_array(what: str, value: Any, traced: bool) -> None:
    """All that may be an array is one number that JAX is tracing."""
    if np.ndim(value):
        raise ValueError(f"{what} is an array of shape {np.shape(value)}; expected one number")
    if not traced:
        raise ValueError(f"{what} is traced by JAX here, but has to be known before the program is made: give a number")


def _members(union: Any) -> Iterator[Any]:
    """What a union is of; conditions do not count."""
    for part in typing.get_args(union):
        yield part
        if typing.get_origin(part) in (Annotated, Union, UnionType):
            yield from _members(part)


def _choices(hint: Any, within: Within | None = None) -> Iterator[Choice]:
    """What a hint allows, with unions taken apart; nothing for types that are not checked."""
    if typing.get_origin(hint) is Annotated:
        inner, within = typing.get_args(hint)
        yield from _choices(inner, within)
    elif typing.get_origin(hint) is Literal:
        yield from (Choice(repr(value), functools.partial(_same, value)) for value in typing.get_args(hint))
    elif typing.get_origin(hint) in (Union, UnionType):
        for part in typing.get_args(hint):
            yield from _choices(part, within)
    elif hint in _KINDS:
        yield _KINDS[hint] if within is None else _narrowed(_KINDS[hint], within)


def _narrowed(choice: Choice, within: Within) -> Choice:
    """What is traced has no value yet, and passes."""
    words = f"{choice.words} {within.words}"
    return Choice(words, lambda x: choice.holds(x) and (isinstance(x, jax.Array) or within.holds(x)))


def _same(known: Any, given: Any) -> bool:
    alike = isinstance(given, str | int | np.integer) and isinstance(given, bool) == isinstance(known, bool)
    return alike and given == known


def _is_number(given: Any) -> bool:
    number = isinstance(given, jax.Array | float | int | np.number | np.ndarray) and not isinstance(given, bool)
    return number and np.ndim(given) == 0


_KINDS = {
    bool: Choice("True or False", lambda x: isinstance(x, bool)),
    int: Choice("a whole number", lambda x: isinstance(x, int | np.integer) and not isinstance(x, bool)),
    float: Choice("a number", _is_number),
    type(None): Choice("None", lambda x: x is None),
}
