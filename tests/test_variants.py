"""Every named variant has an input on which it differs from its neighbours, with the value that its source gives.

The values are of the peers' own code, run once, or published by them; the float64 loops of `reference` have to give
them, and other values with the options of the member's other readings. (That `sim` gives what the loops give is seen in
test_aggregator_values.py and test_attacks.py.)
"""

import inspect
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from zoo import ZOOS, of, reference

EIGHT = [[1, 2, 0], [4, -1, 3], [-2, 5, 1], [7, 3, -4], [0, -6, 2], [3, 8, 5], [-5, 1, 9], [2, -3, -7]]


def _run(source, output, times=1, **more):
    rows = (times * np.array(EIGHT)).tolist()
    return {"source": f"{source}, run", "f": 2, "rows": rows, "output": output} | more


def _small(source, seed, output):
    """Eight rows of two small whole numbers each, drawn until all readings differ."""
    rows = np.random.default_rng(seed).integers(-9, 10, (8, 2)).tolist()
    return {"source": f"{source}, run", "f": 1, "rows": rows, "output": output}


def _sent(source, output, byz=3):
    """The eight rows are honest; behind them stand the Byzantine ones."""
    rows = [*EIGHT, *[[0, 0, 0]] * byz]
    return {"source": f"{source}, run", "rows": rows, "byz": [0] * 8 + [1] * byz, "output": [output] * byz}


NONIID = "epfml/byzantine-robust-noniid-optimizer"
ANSWERS = {
    ("aggregators", "median", "yin2018"): _run("byzfl 0.0.11", [1.5, 1.5, 1.5]),
    ("aggregators", "geometric_median", "rfa"): _run("byzfl 0.0.11", [1.257102012, 1.561034713, 0.653962636]),
    ("aggregators", "geometric_median", "epfml_noniid"): _run(NONIID, [1.174568215, 1.711545721, 0.474524703]),
    ("aggregators", "geometric_median", "byzpy"): _run(
        "byzpy 0.1.4", [1.155789835, 1.743887228, 0.426856349], tolerance=1e-4
    ),
    ("aggregators", "centered_clipping", "karimireddy2021"): _run(
        "byzfl 0.0.11", [21.924262605, 19.187961335, 13.853725321], 100
    ),
    ("aggregators", "centered_clipping", "epfml_noniid"): _run(NONIID, [3.697673902, 3.027121719, 2.669558282], 3),
    ("attacks", "alie", "byzfl"): _sent("byzfl 0.0.11", [6.790435775, 7.806196963, 8.62232095]),
    ("attacks", "alie", "byzpy"): _sent("byzpy 0.1.4", [3.338883934, 3.643979655, 3.951678968]),
    ("attacks", "inner_product", "byzfl"): _sent("byzfl 0.0.11", [-2.5, -2.25, -2.25]),
    ("attacks", "inner_product", "byzpy"): _sent("byzpy 0.1.4", [-1.25, -1.125, -1.125]),
    ("attacks", "sign_flip", "mean"): _sent("byzfl 0.0.11", [-1.25, -1.125, -1.125]),
    ("attacks", "mimic", "byzfl"): _sent("byzfl 0.0.11", [1, 2, 0]),
    ("attacks", "mimic", "worker"): _sent("byzfl 0.0.11", [4, -1, 3]),
    ("aggregators", "krum", "byzfl"): _small("byzfl 0.0.11", 30, [3.0, 2.0]),
    ("aggregators", "multi_krum", "byzfl"): _small("byzfl 0.0.11", 0, [1.285714286, 1.428571429]),
    ("aggregators", "mda", "el_mhamdi2020"): _small("byzfl 0.0.11", 3, [-0.571428571, -1.714285714]),
    ("aggregators", "meamed", "byzfl"): _small("byzfl 0.0.11", 55, [1.714285714, 3.571428571]),
    ("aggregators", "monna", "byzfl"): _small("byzfl 0.0.11", 3, [-1.0, -3.714285714]),
    ("aggregators", "median", "torch"): _small("byzpy 0.1.4", 0, [0.0, 2.0]),
    ("aggregators", "multi_krum", "byzantine_momentum"): _small("LPD-EPFL/ByzantineMomentum", 16, [-1.0, 1.2]),
    ("aggregators", "bulyan", "byzantine_momentum"): _small("LPD-EPFL/ByzantineMomentum", 0, [3.9, 2.633333333]),
    ("aggregators", "aksel", "byzantine_momentum"): _small("LPD-EPFL/ByzantineMomentum", 0, [2.5, 2.25]),
    ("aggregators", "cge", "byzantine_momentum"): _small("LPD-EPFL/ByzantineMomentum", 0, [1.285714286, 1.428571429]),
    ("aggregators", "aksel", "n-f"): _small("LPD-EPFL/ByzantineMomentum", 2, [1.285714286, -3.285714286]),
    ("aggregators", "krum", "torchjd"): _small("torchjd 0.18.0", 22, [-3.0, 6.0]),
    ("aggregators", "multi_krum", "torchjd"): _small("torchjd 0.18.0", 1, [-5.0, -2.0]),
    ("aggregators", "krum", "epfml"): _small("epfml/byzantine-robust-noniid-optimizer", 20, [-3.0, -8.0]),
    ("aggregators", "krum", "blanchard2017"): _small("krum 0.9.1", 26, [7.0, 0.0]),
    ("aggregators", "multi_krum", "krum"): _small("krum 0.9.1", 0, [3.333333333, 4.333333333]),
    ("aggregators", "bulyan", "krum"): _small("krum 0.9.1", 0, [-0.291666667, -0.625]),
    ("aggregators", "aksel", "krum"): _small("krum 0.9.1", 2, [2.428571429, -3.571428571]),
    ("aggregators", "monna", "krum"): _small("krum 0.9.1", 1, [0.428571429, 2.428571429]),
}

FROM_MEMORY = frozenset(
    {
        "aksel smartfed",
        "alie authors_code",
        "alie baruch2019",
        "alie blades",
        "alie epfml",
        "alie flpoison",
        "alie krum",
        "alie ndss21",
        "alie safeguard",
        "bucketing byzfl",
        "bucketing karimireddy2022",
        "bulyan flower",
        "byzmean signguard",
        "byzmean xu2022",
        "centered_clipping byzpy",
        "centered_clipping byzpy_median",
        "centered_clipping fedlib10",
        "centered_clipping fedlib5",
        "cge liu2021",
        "dnc ku",
        "dnc ndss21",
        "dnc signguard",
        "fang_krum around_mean",
        "fang_krum fang2020",
        "fang_krum rule_in_use",
        "fang_trim factor",
        "fang_trim full_knowledge",
        "fang_trim partial_knowledge",
        "gaussian byzfl",
        "gaussian replace",
        "gaussian signguard_noise",
        "gaussian signguard_random",
        "geometric_median byzpy",
        "geometric_median converged",
        "hidden_vulnerability all",
        "hidden_vulnerability byzantine_momentum",
        "inner_product byzantine_momentum",
        "inner_product epfml",
        "inner_product ku",
        "iterative_filtering rcl",
        "iterative_filtering su_xu2018",
        "krum alie",
        "krum byzantine_momentum",
        "krum ndss21",
        "mda ball",
        "meamed byzantine_momentum",
        "meamed lower",
        "meamed xie2018",
        "mimic epfml_noniid",
        "mimic karimireddy2022",
        "min_max exact",
        "min_max ndss21",
        "min_max sign",
        "min_max std",
        "min_sum exact",
        "min_sum ndss21",
        "min_sum paper",
        "min_sum std",
        "monna last",
        "multi_krum blanchard2017",
        "multi_krum fedlib",
        "multi_krum ndss21",
        "negation code",
        "negation paper",
        "optimal_alie byzantine_momentum",
        "optimal_alie byzfl",
        "optimal_alie negative",
        "optimal_inner_product byzantine_momentum",
        "optimal_inner_product byzfl",
        "optimal_inner_product negated",
        "safeguard algorithm 2",
        "safeguard double",
        "safeguard epfml",
        "safeguard printed",
        "safeguard single",
        "safeguard theory",
        "safeguard third_party",
        "safeguard_attack allenzhu2021",
        "safeguard_attack appendix",
        "safeguard_attack v2",
        "safeguard_attack v2_strong",
        "scaling code_negative",
        "scaling code_strong",
        "scaling mean",
        "scaling own",
        "sign_flip own",
        "sign_flip zeno",
        "signguard code",
        "signguard xu2022",
        "zeno code",
        "zeno xie2019",
    }
)
"""Readings whose value no peer's code has confirmed here, or not on an input that tells them apart. Make it shorter."""

READINGS = [
    (kind, name, reading.name)
    for kind in ("aggregators", "attacks", "pre_rules")
    for name, entry in ZOOS[kind].items()
    for reading in entry.readings
    if len(entry.readings) > 1
]


def full(kind, name, options):
    defaults = {key: p.default for key, p in inspect.signature(of(kind)[name].make).parameters.items()}
    return defaults | dict(options)


def value(kind, name, answer, options):
    """What the reference loop makes of the input of an answer."""
    loop, rows = getattr(reference(kind, name), name), np.array(answer["rows"], float)
    rounds = rows if rows.ndim == 3 else rows[None]
    d = rows.shape[-1]
    contexts = [
        SimpleNamespace(
            key=jax.random.fold_in(jax.random.key(0), t),
            step=t,
            lr=1.0,
            f=int(sum(answer.get("byz", [0]))),
            params=np.zeros(d),
            previous=np.array(answer.get("previous", np.zeros(d)), float),
            server_loss=lambda params: float(params.sum()),
            server_gradient=lambda params: np.ones(d),
            aggregate=lambda rows: sum(rows) / len(rows),
            loss_after=lambda v: float((v**2).sum()),
            full_gradient=np.ones(d),
        )
        for t in range(len(rounds))
    ]
    several = "stateful" in of(kind)[name].traits
    known = {"ctx": contexts if several else contexts[0]} if "ctx" in inspect.signature(loop).parameters else {}
    given = list(rounds) if several else rounds[0]
    second = np.array(answer["byz"], bool) if kind == "attacks" else answer["f"]
    with np.errstate(all="ignore"):
        out = np.array(loop(given, second, **options, **known), float)
    return out if rows.ndim == 3 or not several else out[0]


def confirmed(kind, name, reading):
    """There is an answer of a peer that the reading gives, and no reading of other options does."""
    known = [g for g in getattr(reference(kind, name), "GOLDEN", []) if not g["source"].startswith("by hand")]
    own = full(kind, name, reading.options)
    answers = [ANSWERS[key]] if (key := (kind, name, reading.name)) in ANSWERS else []
    answers += [golden for golden in known if full(kind, name, golden["options"]) == own]
    others = [other.options for other in of(kind)[name].readings if full(kind, name, other.options) != own]
    told_apart = False
    for answer in answers:
        near = answer.get("tolerance", 2e-6)
        np.testing.assert_allclose(
            value(kind, name, answer, reading.options), answer["output"], rtol=near, atol=near, err_msg=answer["source"]
        )
        alike = (np.allclose(value(kind, name, answer, o), answer["output"], rtol=1e-5, atol=1e-5) for o in others)
        told_apart = told_apart or not any(alike)
    return told_apart


@pytest.mark.parametrize(("kind", "name", "reading"), READINGS, ids=str)
def test_a_variant_gives_its_peers_value_where_its_neighbours_do_not(kind, name, reading):
    (known,) = (each for each in of(kind)[name].readings if each.name == reading)
    assert confirmed(kind, name, known) == (f"{name} {reading}" not in FROM_MEMORY)


def test_what_is_from_memory_can_only_become_less():
    assert {f"{name} {reading}" for _, name, reading in READINGS} >= FROM_MEMORY
    assert len(FROM_MEMORY) <= 91
