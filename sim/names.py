"""From names to members: "krum", or "nnm+krum" for a rule with preaggregators before it, and the options of either."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from byzsim.aggregators import AGGREGATORS
from byzsim.attacks import ATTACKS
from byzsim.modifiers import MODIFIERS
from byzsim.nearest import unknown
from byzsim.options import Args
from byzsim.preaggregators import PREAGGREGATORS
from byzsim.types import Spec

BUILT_IN = frozenset({*AGGREGATORS, *ATTACKS, *MODIFIERS, *PREAGGREGATORS})
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
"""Other usual names of members, in papers and peers; the definition is the member's default, whoever uses the name."""


def chain(*parts: Any) -> Any:
    """A rule with preaggregators before it, or an attack with modifiers, from the outermost to the rule itself.

    >>> chain(PREAGGREGATORS["nnm"].factory(), AGGREGATORS["krum"].factory()).init(7, 3)  # a rule without a memory
    ()

    Args:
        parts: any number of `PreAggregator` and one `Aggregator`, or of `Modifier` and one `Attack`.
    """
    *wrappers, inner = parts
    for wrap in reversed(wrappers):
        inner = wrap(inner)
    return inner


def canonical(name: str) -> str:
    """The name with each part that is one of `ALIASES` replaced: "nnm+multi_krum" for "nnm+mkrum".

    What is registered by such a name goes by it.
    """
    registered = {*AGGREGATORS, *ATTACKS, *PREAGGREGATORS, *MODIFIERS}
    return "+".join(part if part in registered else ALIASES.get(part, part) for part in name.split("+"))


def rule_spec(name: str) -> Spec:
    """The aggregation rule of that name; "nnm+krum" is `chain(nnm(), krum())`, and takes the options of both.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    return _spec("rule", name, AGGREGATORS, "preaggregator", PREAGGREGATORS)


def attack_spec(name: str) -> Spec:
    """The attack of that name; "burst+alie" is `chain(burst(), alie())`, and takes the options of both.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    return _spec("attack", name, ATTACKS, "modifier", MODIFIERS)


def _spec(kind: str, name: str, zoo: Mapping[str, Spec], outer_kind: str, outer: Mapping[str, Spec]) -> Spec:
    if not isinstance(name, str):
        raise ValueError(f"{kind}={name!r} is not a name")
    *before, last = canonical(name).split("+")
    inner = known(kind, last, zoo)
    return _composed([known(outer_kind, each, outer) for each in before], inner) if before else inner


def _composed(wrappers: list[Spec], inner: Spec) -> Spec:
    """One entry for several; options are found by name, which the registries keep apart; variants are the last's."""
    parts = [*wrappers, inner]

    def max_f(m, **options):
        bounds = []
        for part in parts:
            bounds.append(_with_named(part.max_f, m, options))
            m = _with_named(part.rows, m, options)
        return min(bounds)

    factory = _chained(*(part.factory for part in parts))
    source = "; ".join(part.source for part in parts)
    return Spec(factory, source, max_f, _shared_traits(parts), variants=inner.variants)


@functools.cache  # so that equal names give equal programs
def _chained(*factories: Callable[..., Any]) -> Callable[..., Any]:
    own = [inspect.signature(factory).parameters for factory in factories]

    def factory(**options: Any) -> Any:
        given = [{key: value for key, value in options.items() if key in keys} for keys in own]
        return chain(*(factory(**args) for factory, args in zip(factories, given, strict=True)))

    setattr(factory, "__signature__", inspect.Signature([p for keys in own for p in keys.values()]))  # noqa: B010
    factory.__doc__ = " ".join((factory.__doc__ or "").strip().partition("\n")[0] for factory in factories)
    return factory


def _shared_traits(parts: list[Spec]) -> frozenset[str]:
    """Promises that all parts keep; draws, memory and other needs of any of them."""
    needs = frozenset({"stateful", "stochastic", "server", "clips", "data", "rule", "non_finite"})
    kept = frozenset.intersection(*(part.traits for part in parts)) - needs
    return kept | frozenset.union(*(part.traits & needs for part in parts))


def own(*names: str) -> dict[str, str]:
    """The members from outside among the parts of these names, with the digests of their sources."""
    parts = {part for name in names for part in name.split("+")} - BUILT_IN
    zoo = {**AGGREGATORS, **PREAGGREGATORS, **ATTACKS, **MODIFIERS}
    return {part: zoo[part].digest for part in sorted(parts)}


def revisions(*names: str) -> dict[str, int]:
    """Of the parts of these names, those that have given other numbers before."""
    zoo = {**AGGREGATORS, **PREAGGREGATORS, **ATTACKS, **MODIFIERS}
    parts = sorted({part for name in names for part in name.split("+")})
    return {part: zoo[part].revision for part in parts if zoo[part].revision > 1}


def max_f(spec: Spec, m: int, options: Args) -> int:
    """The largest f that the rule is guaranteed to withstand with these options."""
    return _with_named(spec.max_f, m, options)


def _with_named(f: Callable[..., int], m: int, options: Args) -> int:
    parameters = inspect.signature(f).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return f(m, **options)
    return f(m, **{key: value for key, value in options.items() if key in parameters})


def known(kind: str, name: str, zoo: Mapping[str, Spec]) -> Spec:
    """The entry called `name`.

    Raises:
        ValueError: if there is none, with the nearest names.
    """
    if not isinstance(name, str) or name not in zoo:
        raise ValueError(unknown(kind, str(name), zoo))
    return zoo[name]
