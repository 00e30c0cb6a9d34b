"""Rules and attacks from outside join the registries."""

import inspect

from byzsim import check_shapes
from byzsim.aggregators import AGGREGATORS
from byzsim.attacks import ATTACKS
from byzsim.names import BUILT_IN
from byzsim.options import options
from byzsim.preaggregators import PREAGGREGATORS
from byzsim.types import ATTACK_TRAITS, RULE_TRAITS, Aggregator, Attack, Spec

M, D = 8, 5  # of the trial


def register(name: str, spec: Spec) -> None:
    """Add a rule or an attack of one's own; what its factory makes says which of both it is.

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
        name: what it is called from then on; one that was registered before is replaced.
        entry: as at the end of every file in `sim/aggregators` and `sim/attacks`.
    Raises:
        ValueError: a name that is taken or has signs other than letters, digits and _; no `Spec`; a factory that fails
            or makes something else; shapes that do not fit, found in one traced step of 8 workers and 5 coordinates.
    """
    if not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(f"{name!r} is no name for a rule or an attack: letters, digits and _ make one")
    if name in BUILT_IN:
        raise ValueError(f"there is a {name!r} in byzsim already; choose another name")
    if not isinstance(spec, Spec):
        raise ValueError(f"SPEC of {name} is {spec!r}; expected byzsim.Spec(factory, source='...')")
    try:
        zoo = _tried(spec)
    except Exception as error:  # it is the user's code
        raise ValueError(f"{name} cannot be used: {check_shapes.words(error)}") from error
    for other in (AGGREGATORS, ATTACKS):
        other.pop(name, None)
    zoo[name] = spec


def _tried(spec: Spec) -> dict[str, Spec]:
    """The registry where it belongs, after one step by shapes alone."""
    _check_options(spec)
    if not isinstance(spec.source, str):
        raise ValueError(f"its source is {spec.source!r}; expected text")
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
        raise ValueError(f"its factory makes {type(made).__name__}; expected byzsim.Aggregator or byzsim.Attack")
    return zoo


def _check_options(spec: Spec) -> None:
    """All have defaults and names of their own, and variants are made of them."""
    taken = {option: pre for pre, e in PREAGGREGATORS.items() for option in inspect.signature(e.factory).parameters}
    own = inspect.signature(spec.factory).parameters
    for option, parameter in own.items():
        if parameter.default is parameter.empty:
            raise ValueError(f"its option {option!r} has no default")
        if option in taken:
            raise ValueError(f"its option {option!r} is one of {taken[option]!r} too; call it something else")
    if spec.variants and "variant" in own:
        raise ValueError("it has variants, and an option called 'variant' too; call the option something else")
    for variant in spec.variants:
        options(f"its variant {variant.name}", spec, variant.options)
