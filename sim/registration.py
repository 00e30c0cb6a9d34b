"""Registration of a user's own members of every kind: what a factory makes says of which kind it is."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
from byzsim import check_shapes
from byzsim.aggregators import AGGREGATORS
from byzsim.attacks import ATTACKS
from byzsim.models import MODELS, Model, as_model
from byzsim.modifiers import MODIFIERS
from byzsim.names import BUILT_IN, chain
from byzsim.options import options
from byzsim.partitions import PARTITIONS, Partition
from byzsim.preaggregators import PREAGGREGATORS
from byzsim.run_config import NO_MODEL
from byzsim.task import Task
from byzsim.tasks import TASKS
from byzsim.types import ATTACK_TRAITS, RULE_TRAITS, Aggregator, Attack, Spec
from flax import nnx

M, D = 8, 5  # workers and coordinates of the check
KINDS: Mapping[str, dict[str, Spec]] = {
    "rule": AGGREGATORS,
    "preaggregator": PREAGGREGATORS,
    "attack": ATTACKS,
    "modifier": MODIFIERS,
    "model": MODELS,
    "task": TASKS,
    "partition": PARTITIONS,
}
"""each kind of member, and its registry"""
TRAITS = {"rule": RULE_TRAITS, "preaggregator": RULE_TRAITS, "attack": ATTACK_TRAITS, "modifier": ATTACK_TRAITS}
CHAINED = {
    "rule": ("preaggregator",),
    "preaggregator": ("preaggregator", "rule"),
    "attack": ("modifier",),
    "modifier": ("modifier", "attack"),
}
"""the kinds with which a kind is chained, so that options of both are told apart by their names alone"""
GIVEN = {"model": ("n_classes",), "task": ("model", "n_classes")}
"""arguments of a factory that are no options: the engine gives them"""
EXPECTED = (
    "an Aggregator, an Attack, a Task, a Partition, a model, or a function that makes a rule of a rule or an attack of "
    "an attack"
)


def register(name: str, spec: Spec) -> None:
    """Add your own member under a name, by which `byzsim.aggregate`, `byzsim.simulate` and the others find it.

    >>> import jax.numpy as jnp
    >>> from byzsim import aggregate, types
    >>> def shortest():
    ...     def rule(grads, ctx):
    ...         best = jnp.nanargmin(jnp.square(grads).sum(axis=1))
    ...         return grads[best], jnp.arange(len(grads)) == best
    ...     return types.stateless(rule)
    >>> register("shortest", Spec(shortest, source="this notebook", max_f=lambda m: (m - 1) // 2))
    >>> print(aggregate("shortest", [[3.0, 4.0], [1.0, 1.0], [0.0, 9.0]], f=1))
    [1. 1.]

    What the factory makes decides what the member is: an `Aggregator` is a rule, an `Attack` an attack, a `Task` a
    task, a `Partition` a partition; a Flax module, a function nnx.Rngs -> NNX module, or an object with init and apply
    is a model; a function from a rule to a rule is a preaggregator, and one from an attack to an attack a modifier.

    Args:
        name: letters, digits and _. A member that you registered before under this name is replaced.
        spec: as at the end of the files in `sim/aggregators`, `sim/models` and so on. Every option has a default; only
            the `n_classes` of a model, and the `model` and `n_classes` of a task, have none: they are given to it.

    Raises:
        ValueError: the name belongs to byzsim or has other characters; `spec` is no `Spec`; the factory fails or
            returns something else; one traced step of a rule or an attack with 8 workers and 5 coordinates, or of a
            task that makes its own examples, has results of wrong shapes.
    """
    check_name(name)
    check_spec(name, spec)
    try:
        kind = _checked_kind(name, spec)
    except Exception as error:  # the user's code may raise anything
        raise ValueError(f"{name} cannot be used: {check_shapes.words(error)}") from error
    forget(name)
    KINDS[kind][name] = spec


def forget(name: str) -> None:
    """Remove a user's own member; what there is not, and what is byzsim's own, stays as it is."""
    for registry in KINDS.values() if name not in BUILT_IN else ():
        registry.pop(name, None)


def check_name(name: str, taken: Iterable[str] = BUILT_IN) -> None:
    """Raises ValueError for what cannot be the name of a user's own member."""
    if not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(f"{name!r} is no name for a member; expected letters, digits and _")
    if name in taken:
        raise ValueError(f"{name!r} is a name of byzsim's own; choose another one")


def check_spec(name: str, spec: Any) -> None:
    """Raises ValueError for what is no `Spec`."""
    if not isinstance(spec, Spec):
        raise ValueError(f"SPEC of {name} is {spec!r:.200}; expected byzsim.Spec(factory, source='...')")


def make(spec: Spec) -> Any:
    """What the factory makes with its defaults; for the model of a task, and for n_classes, something stands in.

    Raises:
        ValueError: an option has no default.
        Exception: whatever the factory raises.
    """
    stand_ins = {"model": NO_MODEL, "n_classes": 2}
    for option in needed(spec):
        if option not in stand_ins:
            raise ValueError(f"its option {option!r} has no default; expected one for each option")
    return spec.factory(**{option: stand_ins[option] for option in needed(spec)})


def needed(spec: Spec) -> list[str]:
    """The arguments of a factory that have no default."""
    return [key for key, each in _parameters(spec).items() if each.default is each.empty]


def kind_of(made: Any) -> str | None:
    """Of which kind something is that a factory has made; None if it is of none.

    Raises:
        Exception: whatever a function raises that is given a rule, an attack, and random streams of NNX.
    """
    types = {Aggregator: "rule", Attack: "attack", Task: "task", Partition: "partition", Model: "model"}
    if type(made) in types or isinstance(made, nn.Module):
        return types.get(type(made), "model")
    if all(callable(getattr(made, part, None)) for part in ("init", "apply")):
        return "model"
    return _kind_of_function(made) if callable(made) else None


def _kind_of_function(made: Any) -> str | None:
    """By trying: a preaggregator makes a rule of a rule, a modifier an attack of an attack, and NNX makes modules."""
    trials = {
        "preaggregator": (lambda: made(AGGREGATORS["mean"].factory()), Aggregator),
        "modifier": (lambda: made(ATTACKS["none"].factory()), Attack),
        "model": (lambda: nnx.eval_shape(lambda: made(nnx.Rngs(0))), nnx.Module),
    }
    errors = []
    for kind, (trial, expected) in trials.items():
        try:
            if isinstance(trial(), expected):
                return kind
        except Exception as error:  # of what it is not made for
            errors.append(error)
    if len(errors) == len(trials):
        raise errors[0]
    return None


def _checked_kind(name: str, spec: Spec) -> str:
    """Check the spec, a rule or an attack with one traced step, and return its kind."""
    if not isinstance(spec.source, str):
        raise ValueError(f"its source is {spec.source!r}; expected text, such as 'this notebook'")
    made = make(spec)
    kind = kind_of(made)
    if kind is None:
        raise ValueError(f"its factory returns {type(made).__name__}; expected {EXPECTED}")
    _check_options(kind, name, spec)
    if strange := set(spec.traits) - set(TRAITS.get(kind, ())):
        raise ValueError(f"it has unknown traits {sorted(strange)}. Known: {', '.join(sorted(TRAITS.get(kind, ())))}")
    if kind == "rule":
        bound = spec.max_f(M)
        if not (isinstance(bound, int) and 0 <= bound <= M):
            raise ValueError(f"max_f({M}) is {bound!r}; expected a whole number from 0 to {M}")
    _check_step(kind, name, spec, made)
    return kind


def _check_step(kind: str, name: str, spec: Spec, made: Any) -> None:
    if kind in ("rule", "preaggregator"):
        check_shapes.rule(made if kind == "rule" else chain(made, AGGREGATORS["mean"].factory()), M, D)
    elif kind in ("attack", "modifier"):
        check_shapes.attack(made if kind == "attack" else chain(made, ATTACKS["none"].factory()), M, D)
    elif kind == "model":
        as_model(made)
    elif kind == "task" and not {"model", "n_classes"} & set(_parameters(spec)) and (made.generate or made.sample):
        check_shapes.parameters(name, check_shapes.TaskCall(spec.factory, (), None), None)


def _check_options(kind: str, name: str, spec: Spec) -> None:
    """Check that options have names that no member has with which this one is chained, and that variants use them."""
    own = _parameters(spec)
    partners = {
        option: other
        for each in CHAINED.get(kind, ())
        for other, known in KINDS[each].items()
        if other != name
        for option in _parameters(known)
    }
    for option, parameter in own.items():
        if parameter.default is parameter.empty and option not in GIVEN.get(kind, ()):
            raise ValueError(f"its option {option!r} has no default; expected one for each option")
        if option in partners:
            raise ValueError(f"its option {option!r} is also an option of {partners[option]!r}; rename it")
    if "variant" in own and any(variant.options.get("variant") != variant.name for variant in spec.variants):
        raise ValueError("its option 'variant' has to choose between its variants by their names")
    for variant in spec.variants:
        options(f"its variant {variant.name}", spec, variant.options, stand_ins={"model": NO_MODEL})


def _parameters(spec: Spec) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(spec.factory).parameters
