"""The options of a factory: checks by annotation, named variants, and conversion to plain values."""

import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType, MappingProxyType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, Protocol, TypeVar, Union, cast, overload

import jax
import numpy as np
from byzsim.nearest import hint, unknown
from byzsim.renamed import renamed
from byzsim.types import Spec, Traced, Variant
from jax.core import Tracer

Args = Mapping[str, Any]
FLOAT32_MAX = float(np.finfo(np.float32).max)
signature = functools.cache(inspect.signature)  # a factory's never changes, and takes most of the time of a RunConfig
JSON_TYPES = bool | int | float | str | None


class Within(NamedTuple):
    """A condition on a number, for `Annotated`. Factories under `checked` refuse values that do not meet it."""

    words: str
    """the condition as text, such as "above 0" """
    holds: Callable[[Any], bool]
    """whether a number meets it"""


Count = Annotated[int, Within("of at least 1", lambda x: x >= 1)]
Natural = Annotated[int, Within("of at least 0", lambda x: x >= 0)]
Positive = Annotated[Traced, Within("above 0", lambda x: x > 0)]
NotNegative = Annotated[Traced, Within("of at least 0", lambda x: x >= 0)]
Fraction = Annotated[Traced, Within("above 0 and at most 1", lambda x: 0 < x <= 1)]
Share = Annotated[Traced, Within("from 0 to 1", lambda x: 0 <= x <= 1)]
NO_ARGS: Args = MappingProxyType({})


class Choice(NamedTuple):
    """One kind of values that an option takes."""

    words: str
    """the kind as text, such as "a whole number" """
    holds: Callable[[Any], bool]
    """whether a value is of this kind"""


Options = ParamSpec("Options")
Made = TypeVar("Made", covariant=True)


class Checked(Protocol[Options, Made]):
    """A factory under `checked`, as editors and type checkers show it: with its own options, or with a variant."""

    @overload
    def __call__(self, *args: Options.args, **options: Options.kwargs) -> Made: ...
    @overload
    def __call__(self, *, variant: str, **options: Any) -> Made: ...


def checked(factory: Callable[Options, Made]) -> Checked[Options, Made]:
    """Decorator of a factory: values that the annotations do not allow raise an error.

    It checks int, float, bool and None, `Literal`, and the condition of a `Within`. The decorated factory also takes
    variant=NAME, as in krum(variant="byzfl"): the name of a variant in the `SPEC` of the factory's module.

    Raises:
        ValueError: (when the factory is called) a value is not allowed, or the variant is unknown.
    """
    name, known = cast(FunctionType, factory).__name__, cast(FunctionType, factory).__globals__
    hints = {
        option: tuple(_choices(hint)) for option, hint in typing.get_type_hints(factory, include_extras=True).items()
    }

    @functools.wraps(factory)
    def checking(**options: Any) -> Any:
        spec = known.get("SPEC")  # defined below the factory, so looked up when the factory is called
        variants = spec.variants if isinstance(spec, Spec) and spec.factory is checking else ()
        chosen = resolved(name, factory, variants, options)
        for option, given in chosen.items():
            choices = hints.get(option, ())
            if choices and not any(choice.holds(given) for choice in choices):
                words = ", ".join(choice.words for choice in choices)
                raise ValueError(f"{name}: {option}={given!r} is not {'one of ' * (len(choices) > 1)}{words}")
        return cast(Any, factory)(**chosen)

    return cast(Any, checking)


def allowed(factory: Callable[..., Any]) -> dict[str, str]:
    """{option: the values that it takes, as text}; the text is empty for types that are not checked."""
    options = signature(factory).parameters.values()
    return {each.name: " or ".join(choice.words for choice in _choices(each.annotation)) for each in options}


def resolved(name: str, factory: Callable[..., Any], variants: Sequence[Variant], given: Args) -> Args:
    """The options with variant=NAME replaced by the options of that variant; options given beside it override them.

    If the factory has an option `variant`, that option chooses between the variants and stays; if it has one and there
    are no variants, `variant` is an option like any other.

    Args:
        name: name of the member; in "nnm+krum" the variant is one of the last part.
        factory: the member's factory.
        variants: the member's variants.
        given: the options.

    Raises:
        ValueError: there is no such variant, and the message lists the variants with their formulas; or an option has
            another name now, and the message has the new name.
    """
    own = signature(factory).parameters
    for option in given:
        new, value = renamed(name, option, given[option])
        if option != new and option not in own:
            raise ValueError(f"{name}: the option {option!r} is called {new!r} now: {new}={value!r}")
    if "variant" not in given or ("variant" in own and not variants):
        return given
    name, asked, known = name.rpartition("+")[2], given["variant"], {each.name: each for each in variants}
    if not known:
        raise ValueError(f"{name} has no variants; got variant={asked!r}")
    if not isinstance(asked, str) or asked not in known:
        each = "; ".join(f"{variant.name}: {variant.formula}" for variant in variants)
        raise ValueError(f"unknown variant of {name} {asked!r}.{hint(asked, known)} Known: {each}.")
    return {**known[asked].options, **{key: value for key, value in given.items() if key != "variant"}}


def options(name: str, spec: Spec, given: Args, *, traced: bool = False, stand_ins: Args = NO_ARGS) -> dict[str, Any]:
    """All options of a member: `given`, and the defaults of the others, as plain Python values.

    An int that is given for a real number becomes a float.

    Args:
        name: name of the member, for error messages.
        spec: the member.
        given: options, variant=NAME, or both.
        traced: whether options that are annotated as `Traced` may be values that JAX is tracing.
        stand_ins: values for arguments of the factory that are no options, such as the model of a task; default: 2.

    Raises:
        ValueError: an option or the variant is unknown, or a value is not allowed.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"options of {name} are {given!r}; expected a mapping such as {{'option': value}}")
    given = resolved(name, spec.factory, spec.variants, given)
    parameters = signature(spec.factory).parameters
    defaults = {key: each.default for key, each in parameters.items() if each.default is not each.empty}
    for key in given:
        if key not in defaults:
            raise ValueError(
                unknown(f"option of {name}", str(key), defaults) if defaults else f"{name} has no options; got {key!r}"
            )
    merged = {key: _plain(value, parameters[key]) for key, value in {**defaults, **given}.items()}
    for key, value in merged.items():
        if isinstance(value, np.ndarray | jax.Array):
            _check_array(f"{name}: {key}", value, traced and _is_real(parameters[key]))
        largest = FLOAT32_MAX if isinstance(value, float) else 2**31 - 1
        if isinstance(value, float | int) and not abs(value) <= largest:
            shown = value if isinstance(value, float) else f"(a whole number of {value.bit_length()} bits)"
            raise ValueError(f"{name}: {key}={shown} is not a finite number of 32 bits")
    needs = {key: stand_ins.get(key, 2) for key in parameters if key not in defaults}  # such as n_classes of a model
    try:
        spec.factory(**merged, **needs)  # a factory checks its own options
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error
    return merged


def varying(factory: Callable[..., Any], given: Args) -> dict[str, Any]:
    """The options that may vary between the runs of one compiled program: real numbers annotated as `Traced`.

    If an option has no annotation, or one that is not evaluated (text), its floating-point numbers count as traced.
    """
    parameters = signature(factory).parameters

    def may_vary(key: str) -> bool:
        annotation = parameters[key].annotation
        return _is_real(parameters[key]) or annotation is inspect.Parameter.empty or isinstance(annotation, str)

    return {key: value for key, value in given.items() if isinstance(value, float | jax.Array) and may_vary(key)}


def plain(value: Any) -> Any:
    """A Python number for a NumPy number or an array without dimensions; other values, also traced ones, unchanged."""
    array = isinstance(value, np.generic | np.ndarray | jax.Array) or hasattr(value, "detach")  # a tensor of torch
    return value.item() if array and np.ndim(value) == 0 and not isinstance(value, Tracer) else value


def _plain(value: Any, parameter: inspect.Parameter) -> Any:
    """`plain`, and a float if the parameter is a real number."""
    value = plain(value)
    return float(value) if _is_real(parameter) and type(value) is int and abs(value) <= FLOAT32_MAX else value


def _is_real(parameter: inspect.Parameter) -> bool:
    """Whether the parameter is a real number: by its default, else by its annotation."""
    return isinstance(parameter.default, float) or float in _members(parameter.annotation)


def _check_array(what: str, value: Any, traced: bool) -> None:
    """Refuse arrays, except single numbers that JAX is tracing where `traced` allows them."""
    if np.ndim(value):
        raise ValueError(f"{what} is an array of shape {np.shape(value)}; expected one number")
    if not traced:
        raise ValueError(f"{what} is traced by JAX, but shapes the compiled program: pass a plain number")


def _members(union: Any) -> Iterator[Any]:
    """The members of a union of types, also inside `Annotated`."""
    for part in typing.get_args(union):
        yield part
        if typing.get_origin(part) in (Annotated, Union, UnionType):
            yield from _members(part)


def _choices(hint: Any, within: Within | None = None) -> Iterator[Choice]:
    """The choices that an annotation allows; none for types that are not checked. `within` is the condition so far."""
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
    """The choice with a condition. A traced value has no number yet, so it always meets the condition."""
    words = f"{choice.words} {within.words}"
    return Choice(words, lambda x: choice.holds(x) and (isinstance(x, jax.Array) or within.holds(x)))


def _same(known: Any, given: Any) -> bool:
    """Whether a given value is this value of a `Literal`; True is not 1."""
    alike = isinstance(given, str | int | np.integer) and isinstance(given, bool) == isinstance(known, bool)
    return alike and given == known


def _is_number(given: Any) -> bool:
    """Whether a value is one real number, of Python, NumPy or JAX."""
    number = isinstance(given, jax.Array | float | int | np.number | np.ndarray) and not isinstance(given, bool)
    return number and np.ndim(given) == 0


_KINDS = {
    bool: Choice("True or False", lambda x: isinstance(x, bool)),
    int: Choice("a whole number", lambda x: isinstance(x, int | np.integer) and not isinstance(x, bool)),
    float: Choice("a number", _is_number),
    type(None): Choice("None", lambda x: x is None),
}
