"""Convolutions and pooling of any model, as matrix products and slices that are fast on a CPU.

XLA's CPU backend has a fast path for one convolution with one kernel. A worker's gradient misses it: of all workers at
once the kernel's gradient becomes a convolution with a group for each worker, of one worker a convolution with a
kernel as large as the image; pooling and its gradient are loops over single numbers. `rewritten` gives a function that
computes the same with other operations: it traces the model's function, whatever library it is written in, and
evaluates its program anew with convolutions and pooling replaced.

    patches = k x k shifted copies of x;    y = kernel^T patches;    d kernel = patches dy^T;    dx = fold(kernel dy)

Where values lie. Channels come first and examples last, so that what is copied or compared lies in long runs. A pooled
convolution with a large kernel also computes the q x q positions of a pooling window from one patch, as one product
with q x q shifted kernels, and pooling is then a maximum of q x q contiguous arrays. The elementwise operations between
(bias, activation) do not care where a number lies, so they are applied to the blocks as they lie: `Laid`. What was
tried and measured is in docs/speed.md.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import platforms
from byzsim.task import Data, Task
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from jaxtyping import Array, Float

Pair = tuple[int, int]
Order = tuple[int, int, int, int]

ELEMENTWISE = """
    abs add and ceil clamp convert_element_type copy cos div eq erf exp exp2 expm1 floor ge gt integer_pow is_finite le
    log log1p logistic lt max min mul ne neg not or pow rsqrt select_n sign sin sqrt square stop_gradient sub tanh
"""
MOST_VIEWS = 64  # pixels of a window, each an operation of its own in the program; larger windows stay XLA's
TEST_CHUNK = 50  # examples in one forward pass of a measurement
BLOCKED_KERNEL = 5  # q x q positions at once cost ((k + q - 1) / k)^2 as much arithmetic: worth it from here on


def on_cpu(task: Task, example: Data) -> Task | None:
    """The task with `rewritten` operations, or None if it has none to replace, or does not want it (`Task.rewrites`).

    Its workers compute in turn, as the patches of one worker stay in the cache and those of all workers do not; and it
    is measured on fewer examples at once, as patches are many times as large as their images. So is a task whose
    workers compute in turn anyway.
    """
    measured_in_parts = task._replace(test_chunk=TEST_CHUNK) if task.in_turn else None
    if not task.rewrites:
        return measured_in_parts
    key = jax.eval_shape(jax.random.key, 0)
    example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), example)  # of no device mesh
    tree, constants = jax.eval_shape(task.init, key, example)
    if not _found(jax.make_jaxpr(task.loss)(tree, constants, example, key if task.draws else None).jaxpr):
        return measured_in_parts
    loss, metrics = rewritten(task.loss), rewritten(task.metrics)
    return task._replace(loss=loss, metrics=metrics, in_turn=True, test_chunk=TEST_CHUNK)


def by_platform(task: Task, example: Data, function: Callable[..., Any], *args: Any) -> Any:
    """function(task, *args), on a CPU with the task of `on_cpu`."""
    fast = on_cpu(task, example)
    if fast is None:
        return function(task, *args)
    cpu, default = functools.partial(function, fast), functools.partial(function, task)
    return platforms.on_cpu(*args, cpu=cpu, default=default)


def rewritten(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of pytrees of arrays, with convolutions and pooling replaced.

    Replaced are convolutions over two dimensions in one group, and maxima and sums (so averages) over windows in two
    dimensions, of float32 or float64, with kernels and windows of at most 64 pixels and any stride, padding and kernel
    dilation, also inside jit, scan, while, cond and remat. All else stays XLA's, functions with derivatives of their
    own included. Of equal numbers in a window the first gets the gradient, as in XLA. `jax.grad` goes through the
    result, `jax.jvp` does not.
    """

    def anew(*args):
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        results = _evaluate(closed.jaxpr, closed.consts, *jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), map(_plain, results))

    return anew


# ---------------------------------------------------------------------------------------------------------
# The program
# ---------------------------------------------------------------------------------------------------------


class Laid(NamedTuple):
    """An array of the model's program whose numbers lie in blocks of q x q pixels, channels first, examples last."""

    blocks: Float[Array, "q q c h w n"]
    order: Order

    @property
    def shape(self) -> tuple[int, ...]:
        """of the model's array"""
        q, r, c, h, w, n = self.blocks.shape
        return tuple(np.array((c, q * h, r * w, n))[np.argsort(self.order)].tolist())

    def images(self) -> Float[Array, "c h w n"]:
        return _interleaved(self.blocks) if self.blocks.shape[0] > 1 else self.blocks[0, 0]

    def plain(self) -> Array:
        return self.images().transpose(np.argsort(self.order))

    def like(self, x: Any) -> Any:
        """The numbers of x, of the same shape but for dimensions of size 1, in the same places; scalars as they are."""
        if isinstance(x, Laid) and (x.order, x.blocks.shape) == (self.order, self.blocks.shape):
            return x.blocks
        x = _plain(x)
        if not jnp.ndim(x):
            return x
        x, size = x.transpose(self.order), self.blocks.shape[0]
        c, h, w, n = x.shape
        q, r = (1 if side == 1 else size for side in (h, w))
        blocks = x.reshape(c, h // q, q, w // r, r, n).transpose(2, 4, 0, 1, 3, 5)
        return jnp.broadcast_to(blocks, self.blocks.shape)


def _found(jaxpr: Jaxpr) -> bool:
    return any(_replacement(eqn) is not None or any(map(_found, _bodies(eqn))) for eqn in jaxpr.eqns)


def _bodies(eqn: JaxprEqn) -> Iterator[Jaxpr]:
    """Programs inside an operation that may be written anew: not those of derivatives that a user defines."""
    if eqn.primitive.name.startswith("custom_"):
        return
    for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: isinstance(x, (Jaxpr, ClosedJaxpr))):
        if isinstance(value, (Jaxpr, ClosedJaxpr)):
            yield getattr(value, "jaxpr", value)


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], *args: Any) -> list[Any]:
    known: dict[Var, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        given = [read(atom) for atom in eqn.invars]
        laid = next((x for x in given if isinstance(x, Laid)), None)
        if (replace := _replacement(eqn)) is not None:
            results = [replace(given[0], *map(_plain, given[1:]), q=_pooled_by(jaxpr, eqn.outvars[0]))]
        elif laid is not None and _elementwise(eqn, laid.shape):
            results = [Laid(x, laid.order) for x in _bound(eqn, [laid.like(x) for x in given])]
        elif laid is not None and _is_relu(eqn):
            results = [Laid(jax.nn.relu(laid.blocks), laid.order)]
        elif laid is not None and eqn.primitive.name == "jit":
            results = _evaluate(eqn.params["jaxpr"].jaxpr, eqn.params["jaxpr"].consts, *given)
        else:
            results = _bound(_with_bodies(eqn), [_plain(x) for x in given])
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _bound(eqn: JaxprEqn, given: list[Any]) -> list[Any]:
    out = eqn.primitive.bind(*given, **eqn.primitive.get_bind_params(eqn.params))
    return list(out) if eqn.primitive.multiple_results else [out]


def _with_bodies(eqn: JaxprEqn) -> JaxprEqn:
    """The operation with the programs inside it written anew."""
    if not any(map(_found, _bodies(eqn))):
        return eqn

    def anew(value):
        match value:
            case ClosedJaxpr():
                body = functools.partial(_evaluate, value.jaxpr, value.consts)
                return jax.make_jaxpr(lambda *args: [_plain(x) for x in body(*args)])(*value.in_avals)
            case Jaxpr():
                return anew(ClosedJaxpr(value, ())).jaxpr
            case tuple():
                return tuple(map(anew, value))
        return value

    return eqn.replace(params={name: anew(value) for name, value in eqn.params.items()})


def _plain(x: Any) -> Any:
    return x.plain() if isinstance(x, Laid) else x


def _shape(atom: Any) -> tuple[int, ...]:
    return atom.aval.shape


def _elementwise(eqn: JaxprEqn, shape: tuple[int, ...]) -> bool:
    """Each number of the results depends on one of each input; inputs may be repeated along dimensions of size 1."""
    given = list(map(_shape, eqn.invars))
    fits = all(
        not s or (len(s) == len(shape) and all(a in (1, b) for a, b in zip(s, shape, strict=True))) for s in given
    )
    return fits and eqn.primitive.name in ELEMENTWISE.split()


def _is_relu(eqn: JaxprEqn) -> bool:
    """`jax.nn.relu` and no other function, told by where it is defined: its derivative is its own."""
    return eqn.primitive.name == "custom_jvp_call" and _origin(eqn) == _origin_of_relu()


def _origin(eqn: JaxprEqn) -> str:
    return eqn.params["call_jaxpr"].jaxpr.debug_info.func_src_info


@functools.cache
def _origin_of_relu() -> str:
    return _origin(jax.make_jaxpr(jax.nn.relu)(1.0).eqns[0])


def _pooled_by(jaxpr: Jaxpr, var: Var) -> int:
    """q if a value goes, through elementwise operations only, to maxima of q x q windows side by side; else 1."""
    for eqn in jaxpr.eqns:
        if var in eqn.invars:
            if eqn.primitive.name == "reduce_window_max":
                p = eqn.params
                ones, window = sorted(p["window_dimensions"])[:2], sorted(p["window_dimensions"])[2:]
                beside = p["window_dimensions"] == p["window_strides"] and not np.any(p["padding"])
                return window[0] if beside and ones == [1, 1] and window[0] == window[1] else 1
            if not (_elementwise(eqn, _shape(var)) or _is_relu(eqn)):
                return 1
            var = eqn.outvars[0]
    return 1


# ---------------------------------------------------------------------------------------------------------
# What is replaced, and by what
# ---------------------------------------------------------------------------------------------------------


def _replacement(eqn: JaxprEqn) -> Callable[..., Laid] | None:
    """What computes the result of a convolution or of pooling from its inputs, or None."""
    name, p = eqn.primitive.name, eqn.params
    if name not in ("conv_general_dilated", "reduce_window_max", "reduce_window_sum"):
        return None
    shape = _shape(eqn.outvars[0])
    dtypes = {cast(Any, atom.aval).dtype for atom in (*eqn.invars, *eqn.outvars)}
    if len(shape) != 4 or 0 in shape or dtypes not in ({np.dtype("f4")}, {np.dtype("f8")}):
        return None
    if name != "conv_general_dilated":
        order = _pooling_order(p) if math.prod(p["window_dimensions"]) <= MOST_VIEWS else None
        return order and functools.partial(_pooled, eqn, order)
    if math.prod(_shape(eqn.invars[1])[i] for i in p["dimension_numbers"].rhs_spec[2:]) > MOST_VIEWS:
        return None
    if p["feature_group_count"] != 1 or p["batch_group_count"] != 1 or p["lhs_dilation"] != (1, 1):
        return None
    return functools.partial(_convolved, eqn)


def _pooling_order(p: dict[str, Any]) -> Order | None:
    """Channel, row, column, example: of images with channels last, or first."""
    if any(n != 1 for n in (*p["base_dilation"], *p["window_dilation"])):
        return None
    windows = zip(p["window_dimensions"], p["window_strides"], p["padding"], strict=True)
    used = {i for i, (size, stride, pads) in enumerate(windows) if (size, stride, *pads) != (1, 1, 0, 0)}
    return next((order for order in ((3, 1, 2, 0), (1, 2, 3, 0)) if used <= {*order[1:3]}), None)


def _convolved(eqn: JaxprEqn, x: Any, kernel: Array, *, q: int) -> Laid:
    p, numbers = eqn.params, eqn.params["dimension_numbers"]
    (n, c, *places), (out, into, *rest), (n2, c2, *places2) = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    images = _padded(_images(x, (c, *places, n)), p["padding"], 0.0)
    kernel = kernel.transpose(*rest, into, out)
    order = (c2, *places2, n2)
    c, h, w, n = (_shape(eqn.outvars[0])[i] for i in order)
    strides, dilation = p["window_strides"], p["rhs_dilation"]
    kh, kw = kernel.shape[:2]
    large = min(kh, kw) >= BLOCKED_KERNEL and (kh + q - 1) * (kw + q - 1) <= MOST_VIEWS
    if q > 1 and large and strides == dilation == (1, 1) and h % q == w % q == 0:
        kernel, strides = _shifted(kernel, q), (q, q)
    else:
        q = 1
    y = _product(images, kernel, (h // q, w // q), strides, dilation, p["precision"])
    return Laid(y.reshape(q, q, c, h // q, w // q, n), order)


def _pooled(eqn: JaxprEqn, order: Order, x: Any, *, q: int) -> Laid:
    p, is_max = eqn.params, eqn.primitive.name == "reduce_window_max"
    names = ("window_dimensions", "window_strides", "padding")
    window, strides, pads = (tuple(p[name][i] for i in order[1:3]) for name in names)
    _, h, w, _ = (_shape(eqn.outvars[0])[i] for i in order)
    if isinstance(x, Laid) and x.order == order and x.blocks.shape[:2] == window == strides and not np.any(pads):
        views = [x.blocks[place] for place in np.ndindex(*window)]
    else:
        images = _padded(_images(x, order), pads, -np.inf if is_max else 0.0)
        views = _views(Windows(window, strides, (1, 1), (h, w), _side(images)), images)
    return Laid((_largest(views) if is_max else sum(views))[None, None], order)


def _images(x: Any, order: Order) -> Float[Array, "c h w n"]:
    return x.images() if isinstance(x, Laid) and x.order == order else _plain(x).transpose(order)


def _side(images: Float[Array, "c h w n"]) -> Pair:
    return images.shape[1], images.shape[2]


def _padded(x: Float[Array, "c h w n"], pads: Sequence[Sequence[int]], value: float) -> Array:
    rows, columns = ((int(low), int(high), 0) for low, high in pads)
    return lax.pad(x, jnp.asarray(value, x.dtype), ((0, 0, 0), rows, columns, (0, 0, 0)))


def _product(
    images: Float[Array, "c h w n"],
    kernel: Float[Array, "kh kw c f"],
    size: Pair,
    strides: Pair,
    dilation: Pair,
    precision: Any,
) -> Float[Array, "f places"]:
    """A valid convolution."""
    kh, kw, c, f = kernel.shape
    views = _views(Windows((kh, kw), strides, dilation, size, _side(images)), images)
    patches = jnp.stack(views).reshape(kh * kw * c, -1)
    return jnp.matmul(kernel.reshape(-1, f).T, patches, precision=precision)


def _shifted(kernel: Float[Array, "kh kw c f"], q: int) -> Float[Array, "kh2 kw2 c f2"]:
    """The kernel at q x q offsets: q - 1 larger, q x q times as many features."""
    copies = [jnp.pad(kernel, ((a, q - 1 - a), (b, q - 1 - b), (0, 0), (0, 0))) for a, b in np.ndindex(q, q)]
    return jnp.concatenate(copies, axis=-1)


class Windows(NamedTuple):
    """Places of a window on images."""

    window: Pair
    strides: Pair
    dilation: Pair
    size: Pair
    """places along rows and columns"""
    image: Pair
    """rows and columns of the images"""


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _views(windows: Windows, x: Float[Array, "c h w n"]) -> list[Float[Array, "c ho wo n"]]:
    """For each pixel of the window the numbers that it meets at all places."""
    (s, t), (d, e), (h, w) = windows.strides, windows.dilation, windows.size
    offsets = [(i * d, j * e) for i, j in np.ndindex(*windows.window)]
    return [x[:, i : i + (h - 1) * s + 1 : s, j : j + (w - 1) * t + 1 : t] for i, j in offsets]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _folded(windows: Windows, views: list[Float[Array, "c ho wo n"]]) -> Float[Array, "c h w n"]:
    """The transpose of `_views`: every number added where it was read.

    Numbers that lie at one remainder of the stride are added up as padded arrays, in one loop, and the sums are then
    put side by side: XLA's transpose of a strided slice has a condition in it for each view and each number.
    """
    (s, t), (d, e), (h, w) = windows.strides, windows.dilation, windows.size
    rows, columns = -(-windows.image[0] // s), -(-windows.image[1] // t)
    sums: dict[Pair, Any] = {}
    for (i, j), view in zip(np.ndindex(*windows.window), views, strict=True):
        (a, row), (b, column) = divmod(i * d, s), divmod(j * e, t)
        sums[row, column] = sums.get((row, column), 0) + _padded(view, ((a, rows - a - h), (b, columns - b - w)), 0.0)
    if (s, t) == (1, 1):
        return sums[0, 0]
    c, *_, n = views[0].shape
    total = jnp.zeros((c, rows, s, columns, t, n), views[0].dtype)
    for (row, column), each in sums.items():
        total = total.at[:, :, row, :, column].set(each)
    return total.reshape(c, rows * s, columns * t, n)[:, : windows.image[0], : windows.image[1]]


_views.defvjp(lambda windows, x: (_views(windows, x), None), lambda windows, _, views: (_folded(windows, views),))
_folded.defvjp(lambda windows, views: (_folded(windows, views), None), lambda windows, _, x: (_views(windows, x),))


def _interleaved(blocks: Float[Array, "q q c h w n"]) -> Float[Array, "c q*h q*w n"]:
    q, _, _, h, w, _ = blocks.shape
    windows = Windows((q, q), (q, q), (1, 1), (h, w), (q * h, q * w))
    return _folded(windows, [blocks[i, j] for i, j in np.ndindex(q, q)])


@jax.custom_vjp
def _largest(views: list[Array]) -> Array:
    return _places(views)[0]


def _places(views: list[Array]) -> tuple[Array, Array]:
    """(the largest, which of the views it is in: the first of equals)"""
    largest, first = views[0], jnp.zeros(views[0].shape, jnp.int8 if len(views) < 128 else jnp.int32)
    for i, view in enumerate(views[1:], 1):
        first = jnp.where(view > largest, jnp.asarray(i, first.dtype), first)
        largest = jnp.maximum(largest, view)
    return largest, first


def _places_forward(views):
    largest, first = _places(views)
    return largest, (first, len(views))


_largest.defvjp(_places_forward, lambda kept, g: ([jnp.where(kept[0] == i, g, 0) for i in range(kept[1])],))
