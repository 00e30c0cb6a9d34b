"""Calls for one purpose each: aggregate gradients, forge an attack's rows, train one run."""

import dataclasses
import functools
import inspect
import warnings
from collections.abc import Callable, Hashable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import check_shapes, data, grid, oneshot
from byzsim.captured import MayChange, captured
from byzsim.engine import Data
from byzsim.gradients import Layout, gradients_of, vectors_of
from byzsim.grid import History
from byzsim.names import attack_spec, max_f, rule_spec
from byzsim.nearest import unknown
from byzsim.options import FLOAT32_MAX, NO_ARGS, Args, options, plain
from byzsim.partitions import given
from byzsim.process import non_finite, not_forked
from byzsim.run_config import RunConfig
from byzsim.tasks import TASKS
from byzsim.types import Aggregator, Attack, Spec, Traced
from jax.core import Tracer
from jax.sharding import AxisType, PartitionSpec, auto_axes, use_abstract_mesh
from jaxtyping import Array, Float

FIELDS = tuple(field.name for field in dataclasses.fields(RunConfig))


@non_finite()
def aggregate(
    rule: str | Aggregator,
    gradients: Any,
    *,
    f: Any = None,
    seed: Any = 0,
    lr: Traced = 1.0,
    params: Any = None,
    server_loss: Callable[[Any], Array] | None = None,
    server_gradient: Any = None,
    strict: bool = False,
    **rule_args: Any,
) -> Any:
    """Aggregate the gradients of all workers, or several matrices in order, which a rule with a state remembers.

    >>> gradients = [[0.0, 1.0], [0.5, 1.0], [0.0, 1.5], [0.5, 1.5], [9.0, -9.0]]
    >>> print(aggregate("krum", gradients, f=1))
    [0. 1.]

    The same rule as byzfl defines it, and behind a preaggregator:

    >>> print(aggregate("krum", gradients, f=1, variant="byzfl"))
    [0. 1.]
    >>> print(aggregate("nnm+krum", gradients, f=1, variant="byzfl"))
    [0.25 1.25]

    A pytree goes in and comes out, each array as it came:

    >>> workers = [{"w": np.float16([[i, 2]]), "b": np.float16(i)} for i in (1, 2, 3, 9, 4)]
    >>> aggregate("median", workers)
    {'b': array(3., dtype=float16), 'w': array([[3., 2.]], dtype=float16)}

    Under `jax.jit`, `jax.grad`, `jax.vmap`, `jax.shard_map` and other transformations of JAX these arguments may be
    traced: gradients, f, seed, lr, params, server_gradient, and options that the rule's documentation calls traced.

    Args:
        rule: a name in `byzsim.AGGREGATORS`; preaggregators go before it, joined by "+", as in "nnm+krum". Or the rule
            itself, as in byzsim.chain(byzsim.nnm(), byzsim.krum()).
        gradients: an array of shape (m, d), one row for each worker, or (rounds, m, d). Or a pytree (a dict, a
            NamedTuple, a Flax state, an Equinox module) of arrays with the workers as first axis; or a list of such
            trees, one for each worker. Arrays are of JAX, NumPy, pandas, torch or others that speak DLPack, or lists
            of numbers. NaN and infinities are allowed. Tensors of torch are detached; missing values of a DataFrame
            become NaN.
        f: number of Byzantine workers that the defender declares, 0 to m. Rules that do not read it do not need it.
        seed: seed of the rule's random numbers.
        lr: the server's learning rate, for rules that read it.
        params: parameters at which the gradients were computed: (d,), (rounds, d), or a tree as the gradients are one;
            default zero. For rules that read them.
        server_loss: the server's own loss as a function of the parameters, for rules that need it. Each call compiles
            anew if the function reads an object that may change in place, such as an attribute of `self`.
        server_gradient: the gradient of that loss, (d,) or a tree, for rules that need the gradient only.
        strict: raise an error, instead of a warning, if f is beyond the rule's bound.
        rule_args: options of a rule that is given by name, and of its preaggregators. variant=NAME selects a named
            variant of the rule (`byzsim show RULE` lists them); options given beside it override the variant's.

    Returns:
        The aggregate: an array (d,) or (rounds, d), or a tree without the workers' axis. It is of the kind that came
        in: NumPy for NumPy, a Series for a DataFrame, torch for torch; of JAX for lists of numbers. float16, bfloat16
        and float32 come back as such, and sums are computed in float32; all other numbers are computed, and come back,
        in JAX's default dtype (float64 if `jax_enable_x64` is set).

    Raises:
        ValueError: the rule, an option or the variant is unknown; gradients have a wrong shape, are empty, masked or
            not numeric, or differ between workers in structure, shape or dtype; f is out of range, missing for a rule
            that reads it, or (if `strict`) beyond the rule's bound; the rule needs the server's own data and gets none.
        RuntimeError: the process was forked after JAX had started.

    Warns:
        UserWarning: f is beyond the rule's bound.
    """
    name, spec = _rule(rule)
    not_forked()
    rows = gradients_of("gradients", gradients)
    m, layout = rows.m, rows.layout
    args = _options(name, spec, rule_args)
    declared = None if f is None else _count("f", f, m)
    numbers = _seed(seed), _int32(declared), _number("lr", lr)
    _check_function("server_loss", server_loss)
    bound = None if spec is None else max_f(spec, m, args)
    if bound is not None and isinstance(declared, int) and declared > bound:
        _beyond(f"{name}'s guarantee covers f <= {bound} for m={m}; got f={declared}", strict, frames=4)
    if spec is not None and "server" in spec.traits and server_loss is None and server_gradient is None:
        raise ValueError(f"{name} needs the server's own data: pass server_loss=... or server_gradient=...")
    lead = () if rows.rounds is None else (rows.rounds,)
    at = None if params is None else vectors_of("params", params, layout, lead, both=True)
    slope = None if server_gradient is None else vectors_of("server_gradient", server_gradient, layout)
    call, traced = _call(rule, spec, args, layout.dtype)
    try:
        program = _compiled(_aggregating, layout, call, _function(server_loss))
        out = program(traced, rows.parts, at, slope, *numbers)
    except oneshot.Undeclared:
        guarantee = "" if bound is None else f"; the rule's guarantee covers f <= {bound} for m={m}"
        raise ValueError(
            f"{name} needs f, the number of workers that you declare Byzantine: pass f=... (0 for none){guarantee}"
        ) from None
    return rows.of_that_kind(out)


def rule_for_replicas(
    rule: str | Aggregator, rule_args: Mapping[str, Any], m: int, f: Any, strict: bool
) -> tuple[Aggregator, str]:
    """(the rule, its name) for `byzsim.robust_pmean` over m replicas.

    Raises:
        ValueError: as there.
    """
    name, spec = _rule(rule)
    args = _options(name, spec, rule_args)
    declared = None if f is None else _count("f", f, m)
    if spec is None:
        return cast("Aggregator", rule), name
    if isinstance(declared, int) and (bound := max_f(spec, m, args)) is not None and declared > bound:
        _beyond(f"{name}'s guarantee covers f <= {bound} for m={m} replicas; got f={declared}", strict, frames=4)
    made = spec.factory(**args)
    if "server" in spec.traits or made.redundancy > 1:
        raise ValueError(f"{name} needs the server's own data or redundant work, which replicas do not have")
    if "whole_rows" in spec.traits:
        raise ValueError(f"{name} reads coordinates that lie on other devices; choose another rule")
    return made, name


def _beyond(message: str, strict: bool, *, frames: int) -> None:
    """Raise an error if `strict`, else warn the caller, who is `frames` frames up."""
    if strict:
        raise ValueError(f"{message} (strict=True)")
    warnings.warn(message, stacklevel=frames)


class _Known:
    """A user's function, equal to another one as long as both are the same code and read the same values."""

    def __init__(self, function: Callable[..., Any], key: Hashable) -> None:
        self.function, self.key = function, key

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _function(function: Any, *parts: Any) -> _Known | None:
    """The function, by what it reads (or, if there are any, by what these parts of it read); without a key if that may
    change unseen."""
    if function is None:
        return None
    try:
        return _Known(function, captured(parts or function))
    except MayChange:
        return _Known(function, None)


def _compiled(make: Any, *args: Any) -> Callable[..., Any]:
    """make(*args) of the cached function `make`, anew if one of the arguments may have changed."""
    changes = any(isinstance(each, _Known) and each.key is None for each in args)
    return (make.__wrapped__ if changes else make)(*args)


def _rule(rule: Any) -> tuple[str, Spec | None]:
    """(name, spec) of a rule; without a spec if it is given itself."""
    if isinstance(rule, Aggregator):
        return "the rule", None
    _not_a_factory("rule", rule)
    return rule, rule_spec(rule)


def _not_a_factory(kind: str, given: Any) -> None:
    if callable(given):
        name = getattr(given, "__name__", "it")
        raise ValueError(f"{kind} is the function {name}; call it to make the {kind}, as in byzsim.{name}()")


def _options(name: str, spec: Spec | None, given: Args) -> Args:
    """All options of a member that is given by name; one that is given itself has its own."""
    if spec is None:
        if given:
            raise ValueError(f"{name} is made already: give {', '.join(given)} to the function that makes it")
        return NO_ARGS
    return options(name, spec, given, traced=True)


def _call(member: Any, spec: Spec | None, args: Args, dtype: Any) -> tuple[Any, dict[str, Array]]:
    """(a function that makes the member, equal by value; its traced options)."""
    if spec is not None:
        return grid.call(spec.factory, args, dtype, _of_dtype)
    return _function(lambda: member, *member), {}


def _of_dtype(number: Any, dtype: Any) -> Any:
    """The number with a dtype; NumPy does that in a hundredth of the time that JAX takes."""
    return jnp.asarray(number, dtype) if isinstance(number, jax.Array) else np.asarray(number, dtype)


@functools.lru_cache(maxsize=128)
def _aggregating(layout: Layout, rule: Any, server_loss: _Known | None) -> Callable[..., Any]:
    """The compiled program of `aggregate`."""

    def run(options: Args, parts: Any, params: Any, slope: Any, seed: Any, f: Any, lr: Any) -> tuple[Array, ...]:
        matrix = layout.matrix(parts)
        loss = server_loss and _of_vectors(layout, server_loss)
        if slope is not None:
            own = layout.vector(slope)
            loss = lambda params: jnp.vdot(own, params)  # noqa: E731
        known = {} if loss is None else {"server_loss": lambda n: loss}
        rounds = matrix.reshape(-1, *matrix.shape[-2:])
        at = _vectors(layout, params, (len(rounds), layout.d))
        lr, key = jnp.asarray(lr, layout.dtype), jax.random.key(seed)
        out = oneshot.aggregates(rule(**options), rounds, key, f, params=at, lr=lr, **known)
        return layout.arrays(out.reshape(*matrix.shape[:-2], matrix.shape[-1]))

    return jax.jit(_placed_by_xla(run))


def _placed_by_xla(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run` with shardings left to XLA, on a mesh with explicit axes too; all its devices then have the results."""

    def placed(*args: Any) -> Any:
        meshes = [jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(args)]
        explicit = [mesh for mesh in meshes if AxisType.Explicit in mesh.axis_types]
        if not explicit:
            return run(*args)
        with use_abstract_mesh(explicit[0]):
            return auto_axes(run, out_sharding=PartitionSpec())(*args)

    return placed


def _vectors(layout: Layout, arrays: Any, shape: tuple[int, ...]) -> Float[Array, "*rounds d"]:
    """An argument of that form as vectors; None is zero, and one number stands for all entries."""
    if arrays is None:
        return jnp.zeros(shape, layout.dtype)
    whole = layout.is_array and jnp.ndim(arrays[0]) == 0
    vectors = jnp.asarray(arrays[0], layout.dtype)[None] if whole else layout.vector(arrays)
    return jnp.broadcast_to(jax.lax.expand_dims(vectors, range(len(shape) - vectors.ndim)), shape)


def _of_vectors(layout: Layout, loss: Callable[[Any], Array]) -> Callable[[Array], Array]:
    """The user's function of parameters as a function of their vector."""
    return loss if layout.is_array else lambda vector: loss(layout.tree_of(vector))


@non_finite()
def forge(
    name: str | Attack,
    honest: Any,
    *,
    n_byz: int,
    byzantine_gradients: Any = None,
    rule: str | Aggregator = "mean",
    rule_args: Mapping[str, Any] | None = None,
    f: Any = None,
    seed: Any = 0,
    previous: Any = None,
    loss_after: Callable[[Any], Array] | None = None,
    full_gradient: Any = None,
    params: Any = None,
    **attack_args: Any,
) -> Any:
    """The rows that Byzantine workers send under an attack, given the honest workers' rows.

    >>> honest = [[1.0, 0.0], [3.0, 0.0], [1.0, 4.0], [3.0, 4.0]]
    >>> print(forge("alie", honest, n_byz=2, z=1.5))  # the mean [2, 2] minus 1.5 standard deviations [1, 2]
    [[ 0.5 -1. ]
     [ 0.5 -1. ]]
    >>> forge("optimal_inner_product", honest, n_byz=1, rule="median").shape
    (1, 2)

    Args:
        name: a name in `byzsim.ATTACKS`; modifiers go before it, joined by "+", as in "burst+alie". Or the attack
            itself, as in byzsim.alie().
        honest: the honest workers' gradients, (m - n_byz, d), (rounds, m - n_byz, d) or trees, as in
            `byzsim.aggregate`.
        n_byz: number of workers that attack. They are the first rows of the matrix that the rule gets.
        byzantine_gradients: what the Byzantine workers would send if they were honest, (n_byz, d) or
            (rounds, n_byz, d), or a tree as the gradients are one, with these workers as first axis; for attacks that
            read it with these options.
        rule: the aggregation rule, for attacks that evaluate it; a name, or the rule itself.
        rule_args: options of `rule`.
        f: the f that the rule gets; default n_byz.
        seed: seed of the attack's random numbers.
        previous: the last aggregate (d,), or a tree, default zero, for attacks that read it.
        loss_after: the honest workers' loss as a function of the aggregate, for attacks that maximise it; compiled as
            `server_loss` of `byzsim.aggregate`.
        full_gradient: the gradient (d,), or a tree, over the whole training set, for attacks that read it.
        params: parameters (d,), or a tree, at which the gradients were computed, default zero, for attacks that read
            them.
        attack_args: options of an attack that is given by name, and of its modifiers, or variant=NAME as in
            `byzsim.aggregate`.

    Returns:
        The rows (n_byz, d), or (rounds, n_byz, d), or a tree with the Byzantine workers as first axis; of the kind that
        came in, as in `byzsim.aggregate`.

    Raises:
        ValueError: a name or an option is unknown; an array has a wrong shape; the attack changes labels; the attack
            needs an argument that is missing.
    """
    label, spec = _attack(name)
    rule_name, target = _rule(rule)
    not_forked()
    rows = gradients_of("gradients", honest)
    if spec is not None and "data" in spec.traits:
        raise ValueError(f"{label} changes labels, not gradients: use byzsim.simulate")
    layout, several = rows.layout, () if rows.rounds is None else (rows.rounds,)
    n_byz = _count("n_byz", n_byz, None, traced=False)
    m = rows.m + n_byz
    check_shapes.fits(f"the rows of m={m} workers", 4 * m * layout.d)
    _check_function("loss_after", loss_after)
    args = _options(label, spec, attack_args)
    made: Any = name if spec is None else spec.factory(**args)
    own = _byzantine_gradients(label, byzantine_gradients, layout, (*several, n_byz), n_byz > 0, made)
    call, traced = _call(name, spec, args, layout.dtype)
    rule_options = _options(rule_name, target, rule_args or {})
    in_use, rule_traced = _call(rule, target, rule_options, layout.dtype)
    numbers = _seed(seed), _int32(_count("f", n_byz if f is None else f, m))
    known = {"previous": previous, "full_gradient": full_gradient, "params": params}
    known = {key: None if each is None else vectors_of(key, each, layout) for key, each in known.items()}
    program = _compiled(_forging, layout, call, in_use, n_byz, _function(loss_after))
    out = program(traced, rule_traced, rows.parts, own, known, *numbers)
    return rows.of_that_kind(out)


def _attack(attack: Any) -> tuple[str, Spec | None]:
    """(name, spec) of an attack; without a spec if it is given itself."""
    if isinstance(attack, Attack):
        return "the attack", None
    _not_a_factory("attack", attack)
    return attack, attack_spec(attack)


@functools.lru_cache(maxsize=128)
def _forging(layout: Layout, attack: Any, rule: Any, n_byz: int, loss_after: _Known | None) -> Callable[..., Any]:
    """The compiled program of `forge`."""

    def run(
        options: Args, rule_options: Args, parts: Any, own: Any, known: Mapping[str, Any], seed: Any, f: Any
    ) -> tuple[Array, ...]:
        honest = layout.matrix(parts)
        shape = (*honest.shape[:-2], n_byz, layout.d)
        if not n_byz:
            return layout.arrays(jnp.zeros(shape, layout.dtype))
        updates = jnp.concatenate([_vectors(layout, own, shape), honest], axis=-2)
        before, at = (_vectors(layout, known[name], (layout.d,)) for name in ("previous", "params"))
        more: dict[str, Any] = {"params": at}
        if loss_after is not None:
            more["loss_after"] = _of_vectors(layout, loss_after)
        if known["full_gradient"] is not None:
            full = _vectors(layout, known["full_gradient"], (layout.d,))
            more["full_gradient"] = lambda: full
        made, in_use, key = attack(**options), rule(**rule_options), jax.random.key(seed)
        rounds = updates.reshape(-1, *updates.shape[-2:])
        forged = oneshot.forgeries(made, in_use, rounds, n_byz, key, f, previous=before, **more)
        return layout.arrays(forged.reshape(shape))

    return jax.jit(_placed_by_xla(run))


def _byzantine_gradients(
    name: str, given: Any, layout: Layout, lead: tuple[int, ...], asked: bool, attack: Attack
) -> tuple[Any, ...] | None:
    """The argument of that name of `forge` as arrays; None if it is neither given nor read by the attack."""
    if given is None:
        if asked and attack.reads_own_gradients:
            raise ValueError(
                f"{name} reads what the attackers would send if they were honest: pass byzantine_gradients=... of "
                + (f"shape {(*lead, layout.d)}" if layout.is_array else f"arrays with {lead[0]} workers as first axis")
            )
        return None
    name = "byzantine_gradients"
    return vectors_of(name, given, layout, lead)


def _count(name: str, given: Any, most: int | None, *, traced: bool = True) -> Any:
    """The argument as a whole number. If JAX traces it, its value is unknown."""
    if traced and isinstance(given, Tracer):
        return _traced_whole(name, given)
    _refuse_traced(name, given)
    count = plain(given)
    if not (_is_whole(count) and count >= 0 and (most is None or count <= most)):
        raise ValueError(f"{name}={given!r} is not a whole number from 0" + ("" if most is None else f" to m={most}"))
    return count


def _seed(given: Any) -> Any:
    if isinstance(given, Tracer):
        return _traced_whole("seed", given)
    seed = plain(given)
    if not (_is_whole(seed) and 0 <= seed < 2**32):
        raise ValueError(f"seed={given!r} is not a whole number from 0 to 2**32 - 1")
    return np.uint32(seed)


def _traced_whole(name: str, given: Tracer) -> Tracer:
    if given.ndim or not jnp.issubdtype(given.dtype, jnp.integer):
        raise ValueError(f"{name} is traced as {given.dtype} of shape {given.shape}; expected one whole number")
    return given


def _int32(count: Any) -> Any:
    """A number that no program is compiled for; None and what is traced as they are."""
    return np.int32(count) if isinstance(count, int) else count


def _refuse_traced(name: str, given: Any) -> None:
    if isinstance(given, Tracer):
        raise ValueError(f"{name} is traced by JAX, but shapes the compiled program: pass a plain number")


def _is_whole(count: Any) -> bool:
    return isinstance(count, int) and not isinstance(count, bool)


def _number(name: str, given: Any) -> Any:
    """The argument as a number. If JAX traces it, its value is unknown; else it has to be finite."""
    value = plain(given)
    number = isinstance(value, int | float | Tracer) and not isinstance(value, bool) and np.ndim(value) == 0
    if not (number and (isinstance(value, Tracer) or abs(value) <= FLOAT32_MAX)):
        raise ValueError(f"{name}={given!r} is not a finite number")
    return value if isinstance(value, Tracer) else float(value)


def _check_function(name: str, given: Any) -> None:
    if not (given is None or callable(given)):
        raise ValueError(f"{name}={given!r} is not a function")


def simulate(
    train: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    *,
    shards: Any = None,
    trace: bool = False,
    on_epoch: Callable[[int], None] = lambda done: None,
    strict: bool = False,
    **run_config: Any,
) -> History:
    """Train one run and measure it after every epoch.

    >>> images, labels = np.repeat(np.uint8([0, 255] * 20), 16).reshape(40, 4, 4), np.arange(40) % 2  # black and white
    >>> data, setting = (images, labels), {"m": 5, "n_byz": 1, "batch": 4, "model": "softmax", "lr": 0.5}
    >>> simulate(data, data, rule="median", attack="sign_flip", epochs=3, **setting).accuracy.tolist()
    [1.0, 1.0, 1.0]
    >>> simulate(task="least_squares", m=5, n_byz=1, rule="median", attack="sign_flip", epochs=9, lr=0.1).metrics.keys()
    dict_keys(['distance', 'distance_to_truth', 'loss'])

    Args:
        train: (inputs, labels), for a task that trains on a data set. Inputs are an array (n, ...) or a pytree of such:
            images are uint8, (n, h, w) or (n, h, w, c), and everything else is in floating point. Labels are whole
            numbers for classes, (n,): the classes are the sorted distinct labels of `train` and `test`, and numbers
            that do not occur are no classes. For regression they are targets, (n,) or (n, k).
        test: the same for the test set.
        shards: which training examples each worker has, as an array of indices (m, n), -1 where a worker has no more;
            in place of `partition`.
        trace: also measure every worker at every step, as `History.trace`: its weight, distance and norm, and
            of rules that say so how near it is to being dropped.
        on_epoch: function that is called after each measurement with the number of measurements done.
        strict: raise an error, instead of a warning, if there are more Byzantine workers than the rule's guarantee
            covers.
        run_config: fields of `byzsim.RunConfig`.

    Returns:
        The measurements.

    Raises:
        ValueError: the configuration or the data cannot be used. Nothing has been compiled then.
        RuntimeError: the process was forked after JAX had started.

    Warns:
        UserWarning: there are more Byzantine workers than the rule's guarantee covers.
    """
    for name in run_config:
        if name not in FIELDS:
            raise ValueError(unknown("field of a run", name, FIELDS))
    run = RunConfig(**run_config)
    not_forked()
    train_data, test_data, n_classes = _data_of(run, train, test)
    source = grid.Source() if train_data is None else grid.source_of(train_data, n_classes)
    resolved = grid.resolve(run, source)
    if shards is not None:
        own = given(shards)
        resolved = resolved._replace(static=dataclasses.replace(resolved.static, partition=lambda: own))
    resolved = resolved._replace(static=dataclasses.replace(resolved.static, trace=trace))
    if run.beyond_bound:
        guarantee = f"{run.rule}'s guarantee covers f <= {run.max_f} for m={run.m}"
        _beyond(f"{guarantee}; got n_byz={run.n_byz}, f={run.f}", strict, frames=3)
    check_shapes.runs([resolved], train_data)
    check_shapes.shards(resolved, train_data)
    (history,) = grid.run(
        resolved.static,
        [resolved.dynamic],
        train_data,
        test_data,
        epochs=resolved.measurements,
        on_epoch=on_epoch,
    )
    return history


def _data_of(run: RunConfig, train: Any, test: Any) -> tuple[Data | None, Data | None, int | None]:
    """(training set, test set, classes) as the engine takes them."""
    task = grid.task_call(run, 2)()
    if task.generate or task.sample:
        if train is not None or test is not None:
            raise ValueError(f"task {run.task} makes its own examples; leave train and test out")
        return None, None, None
    if train is None or test is None:
        raise ValueError(f"task {run.task} trains on a data set: give train=(inputs, labels) and test=(inputs, labels)")
    pairs = data.examples("train", train), data.examples("test", test)
    data.check_alike(*pairs)
    if "n_classes" not in inspect.signature(TASKS[run.task].factory).parameters:
        return *jax.tree.map(jnp.asarray, pairs), None
    for name, each in zip(("train", "test"), pairs, strict=True):
        if not data.are_classes(each.labels):
            found = "missing" if each.labels is None else f"{each.labels.dtype} of shape {each.labels.shape}"
            raise ValueError(f"{name} labels are {found}; expected whole numbers, one for each example")
    *numbered, n_classes = data.numbered(*pairs)
    return *jax.tree.map(jnp.asarray, tuple(numbered)), n_classes
