"""Lookup of rules and attacks by name: "krum", or "nnm+krum" for a rule with a preaggregator before it."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from byzsim.aggregators import AGGREGATORS
from byzsim.attacks import ATTACKS
from byzsim.models import MODELS
from byzsim.modifiers import MODIFIERS
from byzsim.nearest import unknown
from byzsim.options import Args, signature
from byzsim.partitions import PARTITIONS
from byzsim.preaggregators import PREAGGREGATORS
from byzsim.tasks import TASKS
from byzsim.types import Aggregator, Attack, Spec

REGISTRIES = (AGGREGATORS, PREAGGREGATORS, ATTACKS, MODIFIERS, MODELS, PARTITIONS, TASKS)
BUILT_IN = frozenset(name for registry in REGISTRIES for name in registry)
ALIASES = {
    "average": "mean",
    "avg": "mean",
    "cm": "median",
    "cwmed": "median",
    "coordinate_median": "median",
    "cwtm": "trimmed_mean",
    "tm": "trimmed_mean",
    "trmean": "trimmed_mean",
    "mkrum": "multi_krum",
    "multikrum": "multi_krum",
    "gm": "geometric_median",
    "geomed": "geometric_median",
    "rfa": "geometric_median",
    "cc": "centered_clipping",
    "cclip": "centered_clipping",
    "brute": "mda",
    "nearest_neighbor_mixing": "nnm",
    "a_little_is_enough": "alie",
    "lie": "alie",
    "little": "alie",
    "empire": "inner_product",
    "foe": "inner_product",
    "ipm": "inner_product",
    "opt_alie": "optimal_alie",
    "opt_ipm": "optimal_inner_product",
    "bit_flip": "sign_flip",
    "signflip": "sign_flip",
    "labelflip": "label_flip",
    "lf": "label_flip",
    "minmax": "min_max",
    "minsum": "min_sum",
}
"""Other names of members in papers and libraries. An alias always selects the member's default definition, also where
the library that uses the name has another one."""


def chain(*parts: Any) -> Any:
    """Put preaggregators before a rule, or modifiers before an attack.

    >>> from byzsim import aggregate, krum, nnm
    >>> gradients = [[0.0, 1.0], [0.5, 1.0], [0.0, 1.5], [0.5, 1.5], [9.0, -9.0]]
    >>> print(aggregate(chain(nnm(), krum(variant="byzfl")), gradients, f=1))
    [0.25 1.25]

    Args:
        parts: any number of `PreAggregator` and then one `Aggregator`; or any number of `Modifier` and then one
            `Attack`. The first is applied to the gradients first.

    Returns:
        The `Aggregator` or the `Attack`.

    Raises:
        ValueError: the last part is no rule and no attack, or one before it is no preaggregator and no modifier.
    """
    *wrappers, inner = parts or (None,)
    if not isinstance(inner, Aggregator | Attack):
        raise ValueError(f"the last part of a chain is {_shown(inner)}; expected a rule or an attack")
    for wrap in reversed(wrappers):
        if isinstance(wrap, Aggregator | Attack) or not callable(wrap) or not _takes_one(wrap):
            raise ValueError(
                f"a part of a chain before its last is {_shown(wrap)}; expected a preaggregator or a modifier"
            )
        inner = wrap(inner)
    return inner


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    return True


def _shown(part: Any) -> str:
    """A part of a chain in an error message; a factory is called to make it."""
    if isinstance(part, Aggregator | Attack):
        return f"an {type(part).__name__}"
    if "<locals>" in getattr(part, "__qualname__", ""):
        return "a preaggregator or a modifier"
    name = getattr(part, "__name__", None)
    return f"the function {name}, which has to be called, as in {name}()" if name else f"{part!r:.100}"


def canonical(name: str) -> str:
    """Replace each part that is one of `ALIASES`: "nnm+mkrum" becomes "nnm+multi_krum".

    A user's own member that is registered under an alias goes first.
    """
    registered = {*AGGREGATORS, *ATTACKS, *PREAGGREGATORS, *MODIFIERS}
    return "+".join(part if part in registered else ALIASES.get(part, part) for part in name.split("+"))


def rule_spec(name: str) -> Spec:
    """The spec of a rule. "nnm+krum" stands for `chain(nnm(), krum())` and takes the options of both.

    Raises:
        ValueError: a name is unknown.
    """
    return _spec("rule", name, AGGREGATORS, "preaggregator", PREAGGREGATORS)


def attack_spec(name: str) -> Spec:
    """The spec of an attack. "burst+alie" stands for `chain(burst(), alie())` and takes the options of both.

    Raises:
        ValueError: a name is unknown.
    """
    return _spec("attack", name, ATTACKS, "modifier", MODIFIERS)


def _spec(kind: str, name: str, zoo: Mapping[str, Spec], outer_kind: str, outer: Mapping[str, Spec]) -> Spec:
    if not isinstance(name, str):
        raise ValueError(f"{kind}={name!r} is not a name; expected a string")
    *before, last = canonical(name).split("+")
    inner = known(kind, last, zoo)
    return _composed([known(outer_kind, each, outer) for each in before], inner) if before else inner


def _composed(wrappers: list[Spec], inner: Spec) -> Spec:
    """The spec of a chain.

    Options go to their part by name: no two members that can be chained have an option of the same name. The variants
    are those of the last part.
    """
    parts = [*wrappers, inner]

    def max_f(m: int, **options: Any) -> int:
        bounds = []  # each part has its own bound for the number of rows that it gets
        for part in parts:
            bounds.append(_with_named(part.max_f, m, options))
            m = _with_named(part.rows, m, options)
        return min(bounds)

    needs = frozenset({"stateful", "stochastic", "server", "clips", "data", "rule", "non_finite"})
    kept_by_all = frozenset.intersection(*(part.traits for part in parts)) - needs
    needed_by_one = frozenset.union(*(part.traits & needs for part in parts))
    factory = _chained(*(part.factory for part in parts))
    source = "; ".join(part.source for part in parts)
    return Spec(factory, source, max_f, kept_by_all | needed_by_one, variants=inner.variants)


@functools.cache  # the same name gives the same factory, so that its programs are compiled once
def _chained(*factories: Callable[..., Any]) -> Callable[..., Any]:
    """The factory of a chain: it takes the options of all parts, and its docstring joins their summaries."""
    own = [inspect.signature(factory).parameters for factory in factories]

    def factory(**options: Any) -> Any:
        given = [{key: value for key, value in options.items() if key in keys} for keys in own]
        return chain(*(factory(**args) for factory, args in zip(factories, given, strict=True)))

    setattr(factory, "__signature__", inspect.Signature([p for keys in own for p in keys.values()]))  # noqa: B010
    factory.__doc__ = " ".join((factory.__doc__ or "").strip().partition("\n")[0] for factory in factories)
    return factory


def own(*names: str) -> dict[str, str]:
    """{name: SHA-256 of its source code} of the users' own members among the parts of these names."""
    parts = {part for name in names for part in name.split("+")} - BUILT_IN
    specs = registered()
    return {part: specs[part].digest for part in sorted(parts)}


def revisions(*names: str) -> dict[str, int]:
    """{name: revision} of the parts of these names that gave other numbers in an earlier version."""
    specs = registered()
    parts = sorted({part for name in names for part in name.split("+")})
    return {part: specs[part].revision for part in parts if specs[part].revision > 1}


def registered() -> dict[str, Spec]:
    """All that is registered, of every kind."""
    return {name: spec for registry in REGISTRIES for name, spec in registry.items()}


def max_f(spec: Spec, m: int, options: Args) -> int:
    """The largest f for which the rule's guarantee holds with these options."""
    return _with_named(spec.max_f, m, options)


def _with_named(f: Callable[..., int], m: int, options: Args) -> int:
    """f(m) with those of the options that f takes."""
    parameters = signature(f).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return f(m, **options)
    return f(m, **{key: value for key, value in options.items() if key in parameters})


def known(kind: str, name: str, zoo: Mapping[str, Spec]) -> Spec:
    """The spec of that name in a registry.

    Raises:
        ValueError: there is none. The message suggests the nearest names.
    """
    if not isinstance(name, str) or name not in zoo:
        raise ValueError(unknown(kind, str(name), zoo))
    return zoo[name]
