"""What contracts share: a promise, and the report of those that are broken."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from byzsim import check_shapes
from byzsim.nearest import unknown
from byzsim.types import Spec

Case = dict[str, Any]  # the input of one trial, by name
STEPS, WIDTHS, DIGITS = (1, 2, 5, None), (1, 2, 3, 5, 10), (0, 1, 6)  # to which an input is cut for a report


class BrokenPromise(AssertionError):
    """A member breaks a promise of its contract; the message has the input."""


class Promise(NamedTuple):
    """One promise of a contract."""

    words: str
    """what is promised"""
    broken: Callable[..., str | None]
    """(member, **case) -> what came out instead; None if the promise is kept"""
    cases: Callable[[Any], Iterable[Case]] = lambda member: ({},)
    """member -> the inputs on which it is tried"""
    trait: str = ""
    """the trait with which it is promised; "" for a promise of every member"""


def check(
    name: str, member: Any, traits: Iterable[str], promises: Mapping[str, Promise], only: Collection[str]
) -> Case:
    """Try the promises of a member.

    Args:
        name: of the member, for the report.
        member: what the promises are tried on.
        traits: of the member.
        promises: the contract.
        only: names of promises; none: all.
    Returns:
        {name: words} of the promises that are kept.
    Raises:
        BrokenPromise: for those that are not.
    """
    for each in only:
        if each not in promises:
            raise ValueError(unknown("promise", each, promises))
    asked = {key: each for key, each in promises.items() if not only or key in only}
    asked = {key: each for key, each in asked.items() if not each.trait or each.trait in traits}
    found = {key: _first_broken(member, promise) for key, promise in asked.items()}
    broken = {key: each for key, each in found.items() if each is not None}
    if broken:
        head = f"{name} breaks {len(broken)} of {len(asked)} promises."
        raise BrokenPromise("\n\n".join([head, *(_report(key, promises[key], *each) for key, each in broken.items())]))
    return {key: promise.words for key, promise in asked.items()}


def _first_broken(member: Any, promise: Promise) -> tuple[Case, str] | None:
    """The first case that breaks the promise, made as small as it goes, and what came out."""
    for case in promise.cases(member):
        if words := _tried(member, promise, case):
            smaller = ((small, _tried(member, promise, small)) for small in _smaller(case))
            return next(((small, found) for small, found in smaller if found), (case, words))
    return None


def _tried(member: Any, promise: Promise, case: Case) -> str | None:
    try:
        return promise.broken(member, **case)
    except Exception as error:  # the user's code may raise anything
        return f"it raises {check_shapes.words(error)}"


def _smaller(case: Case) -> Iterator[Case]:
    """The case with fewer steps, fewer columns and rounded numbers."""
    wide = {key: value for key, value in case.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"}
    steps = STEPS if any(value.ndim == 3 for value in wide.values()) else (None,)
    for step, width, digits in itertools.product(steps, WIDTHS, DIGITS) if wide else ():
        cut = {key: (value[:step] if value.ndim == 3 else value)[..., :width] for key, value in wide.items()}
        yield case | {key: np.round(value, digits) + np.float32(0) for key, value in cut.items()}


def _report(key: str, promise: Promise, case: Case, words: str) -> str:
    lines = [
        f"{key}: {promise.words}.",
        *(f"  {name} = {_pasted(value)}" for name, value in case.items()),
        f"  {words}",
    ]
    return "\n".join(lines)


def _pasted(value: Any) -> str:
    """Python that makes the value."""
    if not isinstance(value, np.ndarray):
        return repr(value)
    shortest = [float(str(x)) for x in value.ravel()] if value.dtype.kind == "f" else value.ravel().tolist()
    inner = str(np.reshape(shortest, value.shape).tolist()).replace("nan", "np.nan").replace("inf", "np.inf")
    return f"np.array({inner}, np.{value.dtype})"


def made_by(spec: Spec, kind: type, **args: Any) -> Any:
    """What the factory makes.

    Raises:
        ValueError: that is of another type.
    """
    made = spec.factory(**args)
    if not isinstance(made, kind):
        raise ValueError(f"the factory makes {type(made).__name__}; expected {kind.__name__}")
    return made


def spec_of(member: Any, registry: Mapping[str, Spec], made: type) -> tuple[str, Spec]:
    """(name, spec) of a member that is given by its name, its `Spec`, its factory, or as what a factory makes.

    Raises:
        ValueError: for an unknown name, or something else.
    """
    if isinstance(member, str):
        if member not in registry:
            raise ValueError(unknown("member", member, registry))
        return member, registry[member]
    if isinstance(member, Spec):
        return getattr(member.factory, "__name__", "the member"), member
    if isinstance(member, made):
        return f"the {made.__name__.lower()}", Spec(lambda: member, source="")
    if callable(member):
        return getattr(member, "__name__", "the member"), Spec(member, source="")
    raise ValueError(f"{member!r:.200} cannot be checked; expected a name, a Spec, a factory or {made.__name__}")


def far(found: Any, expected: Any, *, rtol: float = 1e-5, atol: float = 1e-6) -> bool:
    """Whether numbers differ by more than atol + rtol times the expected; NaN is equal to NaN."""
    return not np.allclose(found, expected, rtol=rtol, atol=atol, equal_nan=True)


def shown(array: Any) -> str:
    """The first numbers of an array."""
    flat = np.ravel(np.asarray(array))
    return f"[{', '.join(f'{x:.7g}' for x in flat[:6])}{', ...' if flat.size > 6 else ''}]"
