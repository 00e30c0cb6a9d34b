"""SafeguardSGD: ban for good whoever drifts away from the majority over a window of steps."""

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from byzsim import blocks
from byzsim.aggregators._median_machine import median_machine
from byzsim.ops import masked_mean, sq_distances, uniform_weights, usable_rows, varying_as
from byzsim.ops.random import normals
from byzsim.options import Count, checked
from byzsim.types import Aggregator, Context, Info, Spec, Traced, Variant
from jaxtyping import Array, Bool, Float, Int, Key

Thresholds = Literal["projected", "recalled", "given", "theory", "printed", "epfml", "third_party"]


class State(NamedTuple):
    """What the server remembers; one entry of a tuple for each guard: (A, B), or (B,) for the single guard."""

    good: Bool[Array, " m"]
    """good_t"""
    sums: tuple[Float[Array, "m d"], ...]
    """the accumulators A_i, B_i"""
    thresholds: tuple[Float[Array, ""], ...]
    """Th1, Th0 as given, which "epfml" changes; of "projected" the Y below of the window so far"""


class Distances(NamedTuple):
    """What line 5 compares in one guard."""

    distance: Float[Array, " m"]
    """each worker's distance from the median machine"""
    limit: Float[Array, ""]
    """the largest distance with which a worker stays"""

    def suspicion(self) -> Float[Array, " m"]:
        """The distance over the limit, above 1 for whoever is banned; the median machine has 0."""
        return jnp.where(self.distance == 0, 0.0, self.distance / self.limit)


@checked
def safeguard(
    *,
    guards: Literal["double", "single"] = "double",
    t0: Count | None = None,
    t1: Count | None = None,
    window: Count | None = None,
    thresholds: Thresholds = "projected",
    factor: Traced = 2.0,
    th0: Traced = 7.5,
    th1: Traced = 18.0,
    multiplier: Traced = 1.5,
    level: Traced = 5.0,
    v: Traced = 1.0,
    p: Traced = 0.1,
    horizon: Traced = 1000.0,
    average: Literal["before", "after"] = "before",
    readmit: Count | None = None,
    nu: Traced = 0.0,
) -> Aggregator:
    """Mean over workers that no guard has banned; a guard bans a worker whose sum of gradients leaves the majority's.

    Algorithm 1, in step t = 0, 1, ... (`Context.step`), with good_0 = all m workers:

    ```text
    1  last1, last0 = the largest multiples of T1, T0 that are <= t
    2  receive grad_{t,i} from every i in good_t
    3  A_i = sum_{k = last1..t} grad_{k,i} / |good_k|;    B_i = sum_{k = last0..t} grad_{k,i} / |good_k|
    4  A_med = A_i of any i in good_t with |{j in good_t : ||A_j - A_i|| <= Th1}| > m / 2; B_med with B, Th0
    5  good_{t+1} = {i in good_t : ||A_i - A_med|| <= 2 Th1 and ||B_i - B_med|| <= 2 Th0}
    6  x_{t+1} = x_t - eta (xi_t + (1 / |good_t|) sum_{i in good_t} grad_{t,i}),    xi_t ~ N(0, nu^2 I)
    ```

    The output is the bracket of line 6, so noise is multiplied by the learning rate as in the algorithm's box (the
    running text adds it outside). A ban is for ever, and windows are blocks that do not overlap. A worker that is
    caught still counts in the step that catches it, so a single huge gradient gets through once (but see `average`).

    Args:
        guards: "double" is Algorithm 1, "single" is Algorithm 2, which has B alone, with `window` and th0; static.
        t0: T0 of "double", in steps; static. None: one epoch (`Context.epoch`), as in the paper's experiments.
        t1: T1 of "double", in steps; static. None: six epochs, as in the paper's experiments.
        window: T of "single" in steps, in blocks too; static. None: B sums from step 0 on, as Algorithm 2 does "for
            analysis purpose only". The paper's experiments have 3 epochs.
        thresholds: where Th comes from, for each guard by itself; static. "projected" is byzsim's own, see the notes.
            "given": Th0 = th0, Th1 = th1. "recalled", "theory", "printed", "epfml" and "third_party" are those of the
            variants of these names, which have their formulas (`byzsim show safeguard`).
        factor: the 2 of line 5; traced. epfml: 1.
        th0: Th0 of "given" and "epfml"; traced. No source has one: 7.5 is the smallest that "recalled" gives.
        th1: Th1 of "given" and "epfml"; traced. No source has one: 18 is about th0 sqrt(T1 / T0).
        multiplier: of "recalled" (1.5) and "third_party" (its default is not known); traced.
        level: of "recalled" (5) and "third_party" (its default is not known), in gradient units, one for both guards;
            traced. The paper's networks have large gradients: where gradients are small, 5 bans nobody, and the rule is
            the mean.
        v: V, the largest ||grad_{t,i} - grad f|| of an honest worker, of "theory" and "printed"; traced. The paper
            normalises it to 1.
        p: probability of a failure, of "theory" and "printed"; traced. 0.1 is that of BrSGD's authors in a copy of this
            rule.
        horizon: T of "projected", "theory" and "printed" for a single guard without a window, in steps; traced. After
            it "projected" takes y_med as it is.
        average: line 6 over good_t, "before" line 5, or over good_{t+1}, "after" it, as a third party does so that a
            caught worker does not count. `Info.weight` is uniform over that set. Static.
        readmit: at every step t > 0 that is a multiple, before line 2, good_t = all and both accumulators restart;
            static. None: never, as in the paper; its last version re-admits in experiments, epfml on request.
        nu: standard deviation of the noise per coordinate, in gradient units; traced. Theory: nu^2 about alpha^2 + 1 /
            m, or 0 if first-order points suffice (Remark 2.4).

    Tolerates:
        f <= (m - 1) // 2; (m - 2) // 2 with "third_party", which asks for one neighbour more. The rule does not use f.

    Cost:
        "given", "theory", "printed" and "epfml": O(md) expected, one read of the accumulators for each machine tried in
        line 4: about two while more than half qualify, at worst m (and always m under `vmap`, where a condition skips
        nothing). The others: O(m^2 d) for a Gram matrix. Memory: 2md floats.

    Notes:
        The state is good (m,) bool, and an (m, d) accumulator and a scalar threshold for each guard. `Info.suspicion`
        has, for A and then B, each worker's distance in line 5 over the largest one that stays.

        The paper runs its experiments with automatic thresholds, found in 20 epochs before the run, whose formula is
        not available. "projected" takes their place as the default: it has no unit, so the rule goes with the scale of
        gradients, and acts on small problems too. With dist_ij = ||A_i - A_j||, y_i is the (floor(m / 2) + 1)-th
        smallest dist_ij over j in good_t, i itself included, and med the i in good_t of smallest y_i. Sums of honest
        noise grow with the square root of the steps, so in the k-th step of a window of T, y_med sqrt(T / k) is what
        y_med promises for the window's end. With Y the largest of these in the window so far, Th = (1 + 2 / sqrt(d)) Y:
        Y is the smallest Th with which line 4 finds a machine, and in few dimensions distances of honest sums differ
        more. In normal noise it bans no honest worker of ten, from d = 1 to 100 (tests/test_safeguard.py). Ties go to
        the lowest worker index; where good_t has too few workers for the rank, the guard bans nobody.

        k_noise, k_1, k_0 = jax.random.split(Context.key, 3). The "any" machine of line 4 is the first in good_t that
        qualifies in the order jax.random.permutation(k_1, m) for A, k_0 for B and the single guard; if none does, it is
        the one of the highest count, the first in that order among equals (epfml: random among them). An i counts
        itself. xi_t = nu * jax.random.normal(k_noise, (d,)), drawn only if nu > 0.

        A row that is not usable (`ops.usable_rows`), a case that the paper does not have, takes its worker out of
        good_t before line 3: it has weight 0 in that step and is banned, its sums stay as they are, and |good_k| does
        not count it. The sums of banned workers go on, which only "epfml" reads. If good_t is empty, the output is
        xi_t, with weights 0. Selection is constant almost everywhere, so sums have derivative 0.

    References:
        Allen-Zhu, Ebrahimianghazani, Li, Alistarh, "Byzantine-resilient non-convex stochastic gradient
        descent", ICLR 2021, arXiv 2012.14368.
    """
    n_guards = 2 if guards == "double" else 1
    given = (th1, th0) if guards == "double" else (th0,)

    def init(m: int, d: int) -> State:
        sums = tuple(jnp.zeros((m, d)) for _ in range(n_guards))
        return State(jnp.ones(m, bool), sums, tuple(jnp.asarray(th, float) for th in given))

    def apply(grads: Float[Array, "m d"], state: State, ctx: Context) -> tuple[Float[Array, " d"], State, Info]:
        k_noise, *k_guards = _keys(ctx.key, n_guards)
        windows = [t1 or 6 * ctx.epoch, t0 or ctx.epoch] if guards == "double" else [window]
        state = _restarted(state, ctx.step, windows, readmit)  # line 1
        usable = usable_rows(grads)
        good = state.good & usable  # line 2
        sums = _accumulated(state.sums, grads, usable, good)  # line 3
        kept, known, suspicion = good, [], []
        for guard, (length, key) in enumerate(zip(windows, k_guards, strict=True)):
            compared, threshold = judge(sums[guard], good, state.thresholds[guard], length, key, ctx.step)  # line 4
            kept &= within(compared)  # line 5
            known.append(threshold)
            suspicion.append(compared.suspicion())
        counted = good if average == "before" else kept
        noise = jax.lax.cond(
            jnp.asarray(nu) > 0,
            lambda: varying_as((nu * normals(blocks.own_key(k_noise), grads.shape[1])).astype(grads.dtype), grads),
            lambda: varying_as(jnp.zeros(grads.shape[1], grads.dtype), grads),
        )
        aggregate = noise + masked_mean(grads, counted)  # line 6
        weight = uniform_weights(counted).astype(jnp.float32)
        after = State(kept, sums, varying_as(tuple(known), grads))
        return aggregate, after, Info(weight, suspicion=jnp.stack(suspicion))

    def judge(
        sums: Float[Array, "m d"],
        good: Bool[Array, " m"],
        given: Float[Array, ""],
        length: int | None,
        key: Key[Array, ""],
        step: Int[Array, ""],
    ) -> tuple[Distances, Float[Array, ""]]:
        """Line 4: what line 5 compares, and the threshold to remember."""
        m, steps = len(good), length or horizon
        if thresholds == "projected":
            return _projected(sums, good, given, _since_restart(step, length, readmit), steps, factor)
        if thresholds == "recalled":
            radius, distance = _majority(sums, good)
            return Distances(distance, factor * multiplier * jnp.maximum(radius, level)), given
        if thresholds == "third_party":
            return _third_party(sums, good, multiplier, level, factor), given
        if thresholds in ("theory", "printed"):
            # Lemma 4.2 prints 8 V sqrt(T log(16 m T / p)), which is for sums that are not divided by |good_k|. With
            # V / |good_k| <= 2 V / m a step, a martingale's r = (2 V / m) sqrt(2 T log(16 m T / p)) bounds each honest
            # sum's deviation with probability 1 - p / (8 m T). So two honest sums differ by 2 r < Th = the printed
            # number / m, and none is farther than 2 Th from A_med, which is within Th of some honest one. What
            # Byzantine sums may then add to the output is O(alpha sqrt(T log)), as the paper states; the printed Th
            # would allow m times as much. (This derivation is byzsim's own.)
            given = 8 * v * jnp.sqrt(steps * jnp.log(16 * m * steps / p)) / (m if thresholds == "theory" else 1)
        enough = (m + 1) // 2 if thresholds == "epfml" else m // 2 + 1
        order = jax.random.permutation(key, m)
        compared = Distances(median_machine(sums, good, given, order, enough=enough), factor * given)
        return compared, _retuned(given, compared.distance, step, length) if thresholds == "epfml" else given

    def within(compared: Distances) -> Bool[Array, " m"]:
        strictly = compared.distance < compared.limit
        return strictly if thresholds == "third_party" else strictly | (compared.distance == compared.limit)

    return Aggregator(init, apply)


def _keys(key: Key[Array, ""], n_guards: int) -> list[Key[Array, ""]]:
    """For the noise, then one for each guard; the last is B's."""
    noise, *guards = jax.random.split(key, 3)
    return [noise, *guards[-n_guards:]]


def _restarted(state: State, step: Int[Array, ""], windows: Sequence[int | None], readmit: int | None) -> State:
    """Accumulators are empty at the start of a window; re-admission starts all of them anew."""
    again = jnp.asarray(False) if readmit is None else step % readmit == 0
    starts = [again if length is None else again | (step % length == 0) for length in windows]
    sums = tuple(jnp.where(start, 0.0, total) for start, total in zip(starts, state.sums, strict=True))
    return state._replace(good=state.good | again, sums=sums)


def _accumulated(
    sums: tuple[Float[Array, "m d"], ...],
    grads: Float[Array, "m d"],
    usable: Bool[Array, " m"],
    good: Bool[Array, " m"],
) -> tuple[Float[Array, "m d"], ...]:
    """Each term is divided by the size of good_k of its own step."""
    term = jax.lax.stop_gradient(jnp.where(usable[:, None], grads, 0.0)) / jnp.maximum(good.sum(), 1)
    return tuple(total + term for total in sums)


def _retuned(
    old: Float[Array, ""], distance: Float[Array, " m"], step: Int[Array, ""], length: int | None
) -> Float[Array, ""]:
    """The threshold of "epfml": at the end of a window 0.001 + the middle distance from the median machine.

    The middle is the (floor(m / 2) + 1)-th smallest, among all m workers, banned ones too. It is found after line 5,
    for the windows to come; it stays as it was if good_t is empty. epfml starts B's window anew only at B's own end
    when it re-admits; here both guards restart.
    """
    if length is None:
        return old
    middle = jnp.sort(distance)[len(distance) // 2]
    return jnp.where(((step + 1) % length == 0) & jnp.isfinite(middle), middle + 0.001, old)


def _since_restart(step: Int[Array, ""], length: int | None, readmit: int | None) -> Int[Array, ""]:
    """Steps in the accumulator before this one."""
    return functools.reduce(jnp.minimum, [step % each for each in (length, readmit) if each is not None], step)


def _projected(
    sums: Float[Array, "m d"],
    good: Bool[Array, " m"],
    most: Float[Array, ""],
    done: Int[Array, ""],
    steps: Traced | int,
    factor: Traced,
) -> tuple[Distances, Float[Array, ""]]:
    """What line 5 compares with "projected" thresholds, and Y: the largest projection of the window so far."""
    radius, distance = _majority(sums, good)
    growth = jnp.sqrt(jnp.maximum(steps / (done + 1), 1.0))
    most = jnp.maximum(jnp.where(done == 0, 0.0, most), radius * growth)
    return Distances(distance, factor * (1 + 2 * blocks.width(sums.shape[1]) ** -0.5) * most), most


def _majority(sums: Float[Array, "m d"], good: Bool[Array, " m"]) -> tuple[Float[Array, ""], Float[Array, " m"]]:
    """The smallest y_i, and the distances of all workers from that machine: its majority is the nearest one."""
    distance = _among(sums, good)
    y = jnp.sort(distance, axis=1)[:, len(good) // 2]
    median = jnp.argmin(y)
    return y[median], distance[median]


def _third_party(
    sums: Float[Array, "m d"], good: Bool[Array, " m"], multiplier: Traced, level: Traced, factor: Traced
) -> Distances:
    """What line 5 compares with the thresholds of "third_party".

    score_i is the (floor((m - 1) / 2) + 1)-th smallest dist_ij over the other j in good_t. Of the i in good_t of
    smallest score, that very j is the median machine, and Th = multiplier min(level, score_i). The third party bans
    nobody for good: here it is a threshold and an average among good_t.
    """
    m = len(good)
    distance = _among(sums, good)
    others = jnp.where(jnp.eye(m, dtype=bool), jnp.inf, distance)
    middle = jnp.argsort(others, axis=1)[:, (m - 1) // 2]
    score = jnp.take_along_axis(others, middle[:, None], axis=1)[:, 0]
    best = jnp.argmin(score)
    limit = jnp.where(jnp.isfinite(score[best]), factor * multiplier * jnp.minimum(level, score[best]), jnp.inf)
    return Distances(jnp.where(jnp.isfinite(limit), distance[middle[best]], 0.0), limit)


def _among(sums: Float[Array, "m d"], good: Bool[Array, " m"]) -> Float[Array, "m m"]:
    """Distances between the sums of good workers; +inf to and from others."""
    return jnp.where(good[None] & good[:, None], jnp.sqrt(sq_distances(sums)), jnp.inf)


SPEC = Spec(
    safeguard,
    source="Allen-Zhu et al., ICLR 2021, arXiv 2012.14368",
    max_f=lambda m, thresholds="projected": max((m - 1 - (thresholds == "third_party")) // 2, 0),
    traits=frozenset({"permutation", "translation", "scale", "consensus", "filter", "stateful"}),
    cost="m^2 d",
    variants=(
        Variant("double", {}, "two guards, projected thresholds", "Algorithm 1; thresholds ours"),
        Variant(
            "recalled",
            {"thresholds": "recalled"},
            "Th = multiplier max(y_med, level), with the y and med of projected thresholds",
            "Algorithm 1; thresholds of its appendix",
        ),
        Variant("single", {"guards": "single", "window": 300}, "one guard with a window", "the paper's experiments"),
        Variant("algorithm_2", {"guards": "single", "thresholds": "theory"}, "one guard from step 0", "Lemma 4.2"),
        Variant("theory", {"thresholds": "theory"}, "Th = 8 V sqrt(T log(16 m T / p)) / m", "Lemma 4.2, sums / |good|"),
        Variant("printed", {"thresholds": "printed"}, "Th = 8 V sqrt(T log(16 m T / p))", "Lemma 4.2, to the letter"),
        Variant(
            "epfml",
            {"thresholds": "epfml", "factor": 1.0},
            "at each window's end Th = 0.001 + the middle distance from the median machine, before that th0 and th1; "
            "kept up to 1 Th; line 4 with >= m / 2",
            "epfml byzantine-robust-optimizer, with tuningThreshold",
        ),
        Variant(
            "third_party",
            {"thresholds": "third_party", "average": "after"},
            "score = the smallest distance to a middle neighbour, which is the median machine; "
            "Th = multiplier min(level, score); line 5 with <; mean over good_{t+1}",
            "a federated-learning framework's Safeguard (T_0, T_1, multiplier, min_thresh)",
        ),
    ),
)
