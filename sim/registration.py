"""Registration of a user's own rules and attacks."""

import inspect

from byzsim import check_shapes
from byzsim.aggregators import AGGREGATORS
from byzsim.attacks import ATTACKS
from byzsim.names import BUILT_IN
from byzsim.options import options
from byzsim.preaggregators import PREAGGREGATORS
from byzsim.types import ATTACK_TRAITS, RULE_TRAITS, Aggregator, Attack, Spec

M, D = 8, 5  # workers and coordinates of the check


def register(name: str, spec: Spec) -> None:
    """Add your own rule or attack under a name, by which `byzsim.aggregate`, `byzsim.simulate` and the others find it.

    >>> import jax.numpy as jnp
    >>> from byzsim import aggregate, types
    >>> def shortest():
    ...     def rule(grads, ctx):
    ...         best = jnp.argmin(jnp.square(grads).sum(axis=1))
    ...         return grads[best], jnp.arange(len(grads)) == best
    ...     return types.stateless(rule)
    >>> register("shortest", Spec(shortest, source="this notebook", max_f=lambda m: (m - 1) // 2))
    >>> print(aggregate("shortest", [[3.0, 4.0], [1.0, 1.0], [0.0, 9.0]], f=1))
    [1. 1.]

    Args:
        name: letters, digits and _. A member that you registered before under this name is replaced.
        spec: as at the end of the files in `sim/aggregators` and `sim/attacks`. The factory's result, an `Aggregator`
            or an `Attack`, decides which of both it is.

    Raises:
        ValueError: the name belongs to byzsim or has other characters; `spec` is no `Spec`; the factory fails or
            returns something else; one traced step with 8 workers and 5 coordinates has results of wrong shapes.
    """
    if not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(f"{name!r} is no name for a rule or an attack; expected letters, digits and _")
    if name in BUILT_IN:
        raise ValueError(f"{name!r} is a name of byzsim's own; choose another one")
    if not isinstance(spec, Spec):
        raise ValueError(f"SPEC of {name} is {spec!r}; expected byzsim.Spec(factory, source='...')")
    try:
        zoo = _checked_registry(spec)
    except Exception as error:  # the user's code may raise anything
        raise ValueError(f"{name} cannot be used: {check_shapes.words(error)}") from error
    for other in (AGGREGATORS, ATTACKS):
        other.pop(name, None)
    zoo[name] = spec


def _checked_registry(spec: Spec) -> dict[str, Spec]:
    """Check the spec with one traced step, and return the registry to which it belongs."""
    _check_options(spec)
    if not isinstance(spec.source, str):
        raise ValueError(f"its source is {spec.source!r}; expected text, such as 'this notebook'")
    made = spec.factory()
    zoo, traits = (AGGREGATORS, RULE_TRAITS) if isinstance(made, Aggregator) else (ATTACKS, ATTACK_TRAITS)
    if strange := set(spec.traits) - set(traits):
        raise ValueError(f"it has unknown traits {sorted(strange)}. Known: {', '.join(sorted(traits))}")
    if isinstance(made, Aggregator):
        bound = spec.max_f(M)
        if not (isinstance(bound, int) and 0 <= bound <= M):
            raise ValueError(f"max_f({M}) is {bound!r}; expected a whole number from 0 to {M}")
        check_shapes.rule(made, M, D)
    elif isinstance(made, Attack):
        check_shapes.attack(made, M, D)
    else:
        raise ValueError(f"its factory returns {type(made).__name__}; expected a byzsim.Aggregator or a byzsim.Attack")
    return zoo


def _check_options(spec: Spec) -> None:
    """Check that options have defaults and names that no preaggregator uses, and that variants use known options."""
    taken = {option: pre for pre, e in PREAGGREGATORS.items() for option in inspect.signature(e.factory).parameters}
    own = inspect.signature(spec.factory).parameters
    for option, parameter in own.items():
        if parameter.default is parameter.empty:
            raise ValueError(f"its option {option!r} has no default; expected one for each option")
        if option in taken:
            raise ValueError(f"its option {option!r} is also an option of {taken[option]!r}; rename it")
    if "variant" in own and any(variant.options.get("variant") != variant.name for variant in spec.variants):
        raise ValueError("its option 'variant' has to choose between its variants by their names")
    for variant in spec.variants:
        options(f"its variant {variant.name}", spec, variant.options)
