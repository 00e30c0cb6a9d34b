"""Every bad input that is tried, and what it gets: the tests read this list, and docs/bad-inputs.md is made from it.

python tests/bad_inputs.py docs/bad-inputs.md
"""

import contextlib
import functools
import gzip
import importlib
import io
import json
import os
import pickle
import re
import shlex
import struct
import sys
import tempfile
import urllib.error
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from byzsim import Data, api, experiments, grid, registration
from byzsim.experiments import cli, datasets, plan, plugins
from byzsim.experiments.datasets import _debian
from byzsim.experiments.errors import UserError
from byzsim.experiments.files import markdown_table
from byzsim.experiments.run import devices
from byzsim.experiments.tables import TABLES
from byzsim.grid import programs
from byzsim.names import BUILT_IN

if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)  # as in the tests, and before the arrays below


class Bad(NamedTuple):
    """What a user did, and a part of the answer."""

    given: str
    """a command line, or Python with the names in `SPACE`; FOLDER is a new, empty folder, and the current one"""
    expected: str
    files: Mapping[str, bytes | str] = {}
    """what lies in FOLDER before"""
    what: str = ""
    """that, in words"""


class Outcome(NamedTuple):
    """What came of it."""

    code: int
    """exit code of a command; for Python 2 if it was a ValueError"""
    message: str
    """all of stderr, or the exception's text; FOLDER for the folder's path"""
    written: list[str]
    """files that were not there before"""


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def idx(*shape, magic=0x08, data=b""):
    return struct.pack(f">4B{len(shape)}I", 0, 0, magic, len(shape), *shape) + data


def four(name, content):
    """A folder with this file in the place of one of the four, and the others whole but small."""
    whole = {"images-idx3": idx(1, 28, 28, data=bytes(784)), "labels-idx1": idx(1, data=b"\0")}
    files = {f"data/{split}-{kind}-ubyte": data for split in ("train", "t10k") for kind, data in whole.items()}
    return {
        **{path: data for path, data in files.items() if not name.startswith(Path(path).name)},
        f"data/{name}": content,
    }


def record(**changes):
    """A line of runs.jsonl of the smoke table, changed."""
    found = plan.runs(TABLES["smoke"])[0][1].as_dict() | {
        "id": "0", "data": "digits", "quick": False, "beyond_bound": False, "diverged": False, "diverged_epoch": None,
        "accuracy": [0.5], "final_accuracy": 0.5, "seconds": 1.0,
        "commit": "0", "dirty": False, "device": "cpu", "versions": {},
    }  # fmt: skip
    return json.dumps({**found, **changes}) + "\n"


CONFIG = '{"table": "smoke", "quick": false, "title": null, "labels": [], "plugins": [], "config": {%s}}'


def runs(text):
    return {"results/smoke/runs.jsonl": text}


def toy(*axes, **changes):
    """A table in the file of a user."""
    rules = plan.axis("rule", ["krum", "median"])
    return plan.Table(**{"name": "toy", "title": "", "source": "", "axes": (rules, *axes)} | changes)


RULE = """\
from byzsim import Spec
from byzsim.types import stateless

def rule():
    "A rule."
    return stateless(lambda grads, ctx: {made})

SPEC = {spec}
"""


def plugin(made="(grads[0], grads[:, 0])", spec='Spec(rule, source="me")'):
    return {"mine.py": RULE.format(made=made, spec=spec)}


def several(specs):
    """mine.py with members by name."""
    return {
        "mine.py": RULE.format(made="(grads[0], grads[:, 0])", spec="None").replace("SPEC = None", f"SPECS = {specs}")
    }


TASK = """\
import jax.numpy as jnp
from byzsim import Data, Partition, Spec, make_task

def task():
    "A task."
    return make_task(init=lambda key, example: INIT, sample=lambda key, worker, n: Data(jnp.zeros((n, 3))),
                     loss=lambda w, batch: LOSS, measure=lambda w, facts: {MEASURED})

SPECS = {"mine": Spec(task, source="me")}
"""
PER_EXAMPLE = "(w[None] - batch.inputs).sum(axis=1)"


def task(init="jnp.zeros(3)", loss=PER_EXAMPLE, measured='"size": w.sum()'):
    """mine.py with a task."""
    return {"mine.py": TASK.replace("INIT", init).replace("LOSS", loss).replace("MEASURED", measured)}


def made(value, kind="Partition(lambda key, pool, m: VALUE)", imports="import jax.numpy as jnp"):
    """mine.py whose factory returns something."""
    text = f"{imports}\nfrom byzsim import Partition, Spec\n\ndef mine():\n    'Mine.'\n    return {kind}\n"
    return {"mine.py": text.replace("VALUE", value) + "\nSPEC = Spec(mine, source='me')\n"}


def arrays(value):
    """mine.py with a data set."""
    imports = (
        "import numpy as np\nfrom byzsim.experiments.datasets import dataset\nx, y = np.zeros((6, 2)), np.arange(6)"
    )
    return made(value, "VALUE", imports)


OWN_TABLE = """\
from byzsim.experiments.plan import Table, axis

SPEC = Table(name="NAME", title="mine", source="me", axes=(axis("rule", ["krum"]),))
"""
MODEL = """\
import flax.linen as nn
import jax.numpy as jnp
from byzsim import Spec

class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x.reshape(len(x), -1).astype(jnp.float32))

SPEC = Spec(lambda *, n_classes: Net(), source="me")
"""

CLI = {
    "Commands": [
        Bad("byzsim rum smoke", "unknown command 'rum'. Did you mean 'run'"),
        Bad("byzsim run", "no table given"),
        Bad("byzsim run smok", "unknown table 'smok'. Did you mean 'smoke'"),
        Bad("byzsim run ''", "an argument is empty"),
        Bad("byzsim run smoke --results ''", "an argument is empty"),
        Bad(
            "byzsim run smoke --rules mean --strict",
            "mean's guarantee covers f <= 0 for m = 10 workers, and a run has 2",
        ),
        Bad("byzsim run smoke stray", "Unrecognized options: stray"),
        Bad("byzsim run smoke --epoch 2", "Perhaps you meant: --epochs"),
        Bad("byzsim run smoke --epochs", "no runs: --epochs is empty"),
        Bad("byzsim list x", "byzsim list takes only --plugins"),
        Bad("byzsim show", "no name given: byzsim show NAME"),
        Bad("byzsim show krun", "unknown name 'krun'. Did you mean 'krum'"),
        Bad("byzsim show nnm+Multi-Krum", "unknown name 'Multi-Krum'. Did you mean 'multi_krum'"),
        Bad("byzsim show krum --plugins gone", "no module 'gone'"),
        Bad("byzsim definitions page.md", "To write the page to a file: --output FILE"),
        Bad("byzsim definitions safegard", "Did you mean 'safeguard'"),
        Bad("byzsim definitions --output no/such/folder/page.md", "cannot write no/such/folder/page.md"),
        Bad("byzsim definitions --output FOLDER", "cannot write FOLDER"),
        Bad("byzsim bench scalling", "unknown benchmark 'scalling'. Did you mean 'scaling'"),
        Bad("byzsim bench --only speed", "unknown part 'speed'"),
        Bad("byzsim bench scaling --workers 0", "have to be above 0"),
        Bad("byzsim bench accelerator --steps -1", "have to be above 0"),
        Bad('byzsim bench accelerator --setting "Krum, ALIE"', "unknown setting"),
        Bad("byzsim bench accelerator --quick --peer-python nowhere/python", "cannot run the peers' Python"),
        Bad("byzsim zoo --f 0", "expected 1 <= f <= (m - 1) // 2"),
        Bad("byzsim zoo --m 1000000000", "GB are available"),
        Bad("byzsim zoo --seed -1", "a seed from 0 to 2**32 - 1"),
        Bad("byzsim zoo --m eleven", "Error parsing --m"),
        Bad("byzsim angles --draws 1", "expected draws of at least 2"),
        Bad("byzsim angles --rules krun", "unknown full-gradient rule 'krun'"),
        Bad("byzsim run smoke --checkpoint -1", "--checkpoint -1: expected seconds, 0"),
        Bad("byzsim run smoke --checkpoint nan", "--checkpoint nan: expected seconds, 0"),
        Bad("byzsim run smoke --process-id 1", "--process-id need --distributed"),
        Bad("byzsim run smoke --distributed --num-processes 2", "only some of the three options for several processes"),
        Bad(
            "byzsim run smoke --distributed --coordinator here --num-processes 2 --process-id 0",
            "not of the form HOST:PORT",
        ),
        Bad("byzsim run smoke --devices-per-run 3", "has to divide the number of workers, m=10"),
        Bad("byzsim run smoke --devices-per-run 0", "has to divide the number of workers, m=10"),
        Bad("byzsim status smok", "unknown table 'smok'. Did you mean 'smoke'"),
        Bad("byzsim status smoke --only rule=krun", "Did you mean 'krum'"),
        Bad("byzsim status --results gone", "no folder gone"),
        Bad("byzsim verify", "no table given"),
        Bad("byzsim verify smoke --only rule=krum", "no records of these runs"),
        Bad("byzsim verify smoke --sample 0", "--sample 0 is below 1"),
        Bad("byzsim verify smoke --sample some", "Error parsing --sample"),
        Bad("byzsim diff here", "Missing from byzsim diff: PATH the folder to compare with"),
        Bad("byzsim diff here there", "no records in here"),
    ],
    "Configuration and overrides": [
        Bad("byzsim run smoke --rules krun", "unknown rule 'krun'. Did you mean 'krum'"),
        Bad("byzsim run smoke --rules nmn+krum", "unknown preaggregator 'nmn'. Did you mean 'nnm'"),
        Bad("byzsim run smoke --rules Κrum", "unknown rule 'Κrum'"),
        Bad("byzsim run smoke --rules krum krum", "--rules has krum twice. To compare variants of one, list them"),
        Bad("byzsim run smoke --rules krum,median,Multi-Krum", "Did you mean 'multi_krum'"),
        Bad(
            "byzsim run smoke --rules drift",
            "This folder has drift.py: --plugins drift registers its SPEC",
            {"drift.py": ""},
            "drift.py is there",
        ),
        Bad("byzsim run smoke --rules", "no runs: --rules is empty"),
        Bad("byzsim run smoke --rules mda --m 30", "mda tries all subsets of at most 20 workers"),
        Bad("byzsim run smoke --attacks gausian", "Did you mean 'gaussian'"),
        Bad("byzsim run smoke --seeds", "no runs: --seeds is empty"),
        Bad("byzsim run smoke --seeds 0 0", "--seeds has 0 twice"),
        Bad("byzsim run smoke --seeds -1", "seed=-1 is below 0"),
        Bad("byzsim run smoke --seeds 4294967296", "seed=4294967296 is more than 4,294,967,295"),
        Bad("byzsim run smoke --seeds 0 one", "Error parsing --seed/--seeds"),
        Bad("byzsim run smoke --seeds 0,1,0", "--seeds has 0 twice"),
        Bad("byzsim run smoke --data digit", "Did you mean 'digits'"),
        Bad("byzsim run smoke --data FashionMNIST", "Did you mean 'fashion_mnist'"),
        Bad("byzsim run Smoke", "unknown table 'Smoke'. Did you mean 'smoke'"),
        Bad("byzsim run smoke --model lennet", "Did you mean 'lenet'"),
        Bad("byzsim run smoke --model lenet", "images too small"),
        Bad("byzsim run smoke --optimizer sdg", "unknown optimizer 'sdg'. Did you mean 'sgd'"),
        Bad("byzsim run smoke --optimizer lbfgs", "optimizer lbfgs cannot be used"),
        Bad("byzsim run smoke --m 0", "m=0 is below 1"),
        Bad("byzsim run smoke --m 1", "alpha=0.2 of m=1 is 0.2 workers"),
        Bad("byzsim run smoke --m 1000000000", "m=1000000000 is more than 1,000,000"),
        Bad("byzsim run smoke --m 1e3", "Error parsing --m"),
        Bad("byzsim run smoke --alphas 0.25", "2.5 workers, not a whole number. Try 2/10 or 3/10."),
        Bad("byzsim run smoke --m 11 --alphas 0.27", "2.97 workers, not a whole number. Try 2/11 or 3/11."),
        Bad("byzsim run smoke --alphas 2/11", "alpha=0.181818 of m=10 is 1.81818 workers"),
        Bad("byzsim run smoke --alphas 2/0", "'2/0' is neither a number such as 0.2 nor a count of workers"),
        Bad("byzsim run smoke --alphas few", "'few' is neither a number such as 0.2 nor a count of workers"),
        Bad("byzsim run smoke --alphas 1.5", "alpha=1.5 is not a fraction from 0 to 1"),
        Bad("byzsim run smoke --alphas -0.1", "alpha=-0.1 is not a fraction from 0 to 1"),
        Bad("byzsim run smoke --alphas nan", "alpha=nan is not a fraction from 0 to 1"),
        Bad("byzsim run smoke --batch 0", "batch=0 is below 1"),
        Bad("byzsim run smoke --batch 5000", "batch=5000 is larger than a worker's shard"),
        Bad("byzsim run smoke --epochs 0", "epochs=0 is below 1"),
        Bad("byzsim run smoke --epochs 1000000000000", "more than 1,000,000"),
        Bad("byzsim run smoke --epochs two", "Error parsing --epochs"),
        Bad("byzsim run smoke --steps 0", "steps=0 is below 1"),
        Bad("byzsim run smoke --steps 99", "steps=99 is more than the 8 whole batches"),
        Bad("byzsim run smoke --lr nan", "lr=nan is not a finite number above 0"),
        Bad("byzsim run smoke --lr inf", "lr=inf is not a finite number above 0"),
        Bad("byzsim run smoke --lr 0", "lr=0.0 is not a finite number above 0"),
        Bad("byzsim run smoke --lr 1e-60", "lr=1e-60 is not a finite number above 0"),
        Bad("byzsim run smoke --momentum heavy", "invalid choice 'heavy'"),
        Bad("byzsim run smoke --server-noise -1", "server_noise=-1.0 is not a finite number of at least 0"),
        Bad("byzsim run smoke --momentum-beta 1", "momentum_beta=1.0 is not in [0, 1)"),
        Bad("byzsim run smoke --partition dirichlet --options dirichlet.alpha=0", "alpha=0.0 is not a number above 0"),
        Bad("byzsim run smoke --n-byz 0 1", "the table's axis alpha sets n_byz, too. Choose among its settings"),
        Bad("byzsim run smoke --lr 0.1 0.10", "--lr has 0.1 twice"),
        Bad("byzsim run smoke --optimizer sgd --options sgd.momentum=None,None", "sgd.momentum has None twice"),
        Bad("byzsim run smoke --schedule step_decay", "schedule step_decay needs every"),
        Bad("byzsim run smoke --schedule cosine", "unknown schedule 'cosine'. Known: constant, cosine_decay_schedule"),
        Bad(
            "byzsim run smoke --metric acuracy",
            "unknown metric of task classification 'acuracy'. Did you mean 'accuracy'",
        ),
        Bad("byzsim run smoke --task least_squares", "Known: distance, distance_to_truth, loss"),
        Bad("byzsim run smoke --number mean_last_0", "expected last, best or mean_last_K, such as mean_last_5"),
        Bad("byzsim run smoke --number mean_last_11", "needs 11 measurements, and a run has 10"),
        Bad("byzsim run smoke --columns rules", "unknown axis of the table smoke 'rules'. Did you mean 'rule'"),
        Bad("byzsim run smoke --rows rule --columns rule", "is named twice: rule"),
        Bad("byzsim run smoke --worst-over seed", "unknown axis of the table smoke 'seed'"),
        Bad("byzsim run smoke --data none", "task classification makes no examples of its own, so it needs a data set"),
        Bad("byzsim run smoke --held-out 1", "held_out=1.0 is not a share above 0 and below 1"),
        Bad("byzsim run smoke --declared-f maybe", "invalid choice 'maybe'"),
        Bad("byzsim run smoke --only krum", "not of the form KEY=VALUE"),
        Bad("byzsim run smoke --only rul=krum", "unknown key in --only 'rul'. Did you mean 'rule'"),
        Bad("byzsim run smoke --only rule=krun", "Did you mean 'krum'"),
        Bad("byzsim run smoke --only seed=x", "unknown seed in --only 'x'"),
        Bad("byzsim run smoke --only alpha=nan", "unknown alpha in --only 'nan'"),
        Bad("byzsim run smoke --only alpha=0.21", "unknown alpha in --only '0.21'. Did you mean '0.2'"),
        Bad("byzsim run smoke --only alpha=2/9", "unknown alpha in --only '2/9'"),
        Bad("byzsim run smoke --options brsgd", "NAME.OPTION=VALUE"),
        Bad("byzsim run smoke --options krumm.x=1", "Did you mean 'krum'"),
        Bad("byzsim run smoke --options brsgd.betta=0.4", "Did you mean 'beta'"),
        Bad("byzsim run smoke --options brsgd.beta=0.4 brsgd.beta=0.5", "--options has brsgd.beta twice"),
        Bad("byzsim run smoke --options brsgd.empty=book", "'nearest', 'c1', 'median'"),
        Bad(
            "byzsim run smoke --options brsgd.reading=code",
            "the option 'reading' is called 'variant' now: variant='code'",
        ),
        Bad("byzsim run smoke --options brsgd.variant=kode", "unknown variant of brsgd 'kode'. Did you mean 'code'"),
        Bad("byzsim run smoke --options mean.variant=byzfl", "mean has no variants; got variant='byzfl'"),
        Bad("byzsim run smoke --options brsgd.beta=-1", "brsgd: beta=-1.0 is not a number above 0 and at most 1"),
        Bad("byzsim run smoke --options brsgd.beta=nan", "beta=nan is not a finite number"),
        Bad("byzsim run smoke --options gaussian.sigma=1e300", "sigma=1e+300 is not a finite number of 32 bits"),
        Bad("byzsim run smoke --options gaussian.sigma=[1]", "sigma=(1,) is not a number"),
        Bad("byzsim run smoke --options gaussian.sigma=1,x", "sigma='x' is not a number"),
        Bad("byzsim run smoke --options gaussian.sigma=200,2e2", "--options gaussian.sigma has 200.0 twice"),
        Bad("byzsim run smoke --attacks alie --options alie.z=1,x", "z='x' is not"),
        Bad(
            "byzsim run smoke --plugins mine --rules mine --options mine.z=1.0,one",
            "mine: z='one' is not a number, as in --options mine.z=1.0",
            {
                "mine.py": RULE.format(made="(grads[0], grads[:, 0])", spec='Spec(rule, source="me")').replace(
                    "rule()", "rule(*, z=1.0)"
                )
            },
            "mine.py has an option z=1.0 that it does not check",
        ),
        Bad(
            "byzsim run smoke --rules dnc --options dnc.iterations=0",
            "iterations=0 is not a whole number of at least 1",
        ),
        Bad("byzsim run smoke --rules dnc --options dnc.iterations=2.5", "iterations=2.5 is not a whole number"),
        Bad("byzsim run smoke --rules monna --options monna.trusted=10", "trusted=10 is no index of 10 workers"),
        Bad("byzsim run smoke --model mlp --options mlp.hidden=1000000000", "GB are available"),
        Bad(
            "byzsim run smoke --attacks delayed_gradient --options delayed_gradient.copies=9000000 "
            "delayed_gradient.delay=9000000",
            "the state of delayed_gradient and the gradients",
        ),
    ],
    "Results folders": [
        Bad(
            "byzsim run smoke --results FOLDER/file",
            "cannot write results to",
            {"file": ""},
            "a file where the folder should be",
        ),
        Bad(
            "byzsim run smoke --results FOLDER/file/below",
            "Choose another folder with --results",
            {"file": ""},
            "a file where its parent should be",
        ),
        Bad("byzsim run smoke --results=~no_such_user/res", "~no_such_user/res: there is no such home folder"),
        Bad("byzsim report smoke", "no records in"),
        Bad("byzsim report smoke --results FOLDER/gone", "no records in FOLDER/gone/smoke"),
        Bad("byzsim report smoke --quick", "with the same options", runs(record()), "records of a full run only"),
        Bad(
            "byzsim run smoke", "cannot read", {"results/smoke/runs.jsonl/x": ""}, "a folder where runs.jsonl should be"
        ),
        Bad(
            "byzsim run smoke",
            "line 1 is not a record (not a JSON object)",
            runs("not JSON\n"),
            "a line that is not JSON",
        ),
        Bad(
            "byzsim run smoke",
            "line 1 is not a record (not a JSON object)",
            runs("[" * 100_000 + "\n"),
            "a line of 100,000 opening brackets",
        ),
        Bad(
            "byzsim run smoke",
            "line 2 is not a record (not a JSON object)",
            runs(record() + "\0\n"),
            "a zero byte in line 2",
        ),
        Bad(
            "byzsim report smoke",
            "line 1 is not a record (without accuracy",
            runs('{"id": "1"}\n'),
            "a record without most fields",
        ),
        Bad(
            "byzsim report smoke", "(seed of another type)", runs(record(seed="zero")), 'a record with the seed "zero"'
        ),
        Bad(
            "byzsim report smoke",
            "(accuracy of another type)",
            runs(record(accuracy=[])),
            "a record with an empty list of accuracies",
        ),
        Bad(
            "byzsim report smoke",
            "(final_accuracy of another type)",
            runs(record(final_accuracy=float("nan"))),
            "a record with the final accuracy NaN",
        ),
        Bad(
            "byzsim report smoke",
            "(final_accuracy of another type)",
            runs(record(final_accuracy=None)),
            "a record that did not diverge, without final accuracy",
        ),
        Bad(
            "byzsim report smoke",
            "are quick runs",
            runs(record(quick=True)),
            "a quick run among the table's own records",
        ),
        Bad(
            "byzsim run smoke",
            "cannot lock results/smoke",
            {"results/smoke/.lock/x": ""},
            "a folder where the lock should be",
        ),
        Bad(
            "byzsim status smoke",
            "line 1 is not a record (without failed)",
            {"results/smoke/failures.jsonl": '{"id": "1"}\n'},
            "a line of failures.jsonl that does not say what failed",
        ),
        Bad(
            "byzsim diff results/smoke results/smoke",
            "(loss of another type)",
            runs(record(loss=[[1.0]])),
            "a record with lists for losses",
        ),
        Bad(
            "byzsim diff results/smoke results/smoke --csv gone/cells.csv",
            "cannot write gone/cells.csv",
            runs(record()),
        ),
        Bad("byzsim diff results/smoke results/smoke --csv FOLDER", "cannot write FOLDER", runs(record())),
        Bad("byzsim report smoke --inject gone.md", "cannot put the table into gone.md", runs(record())),
        Bad("byzsim report smoke --inject FOLDER", "cannot put the table into FOLDER", runs(record())),
        Bad(
            "byzsim report smoke --inject page.md",
            "the page needs one <!-- TABLE:smoke -->",
            runs(record()) | {"page.md": ""},
            "an empty page.md",
        ),
        Bad(
            "byzsim report smoke --inject page.md",
            "it is not UTF-8 text",
            runs(record()) | {"page.md": b"\xff\xfe"},
            "a page.md of other bytes",
        ),
        Bad("byzsim run smoke --name ../mine", "expected letters, digits, spaces"),
        Bad("byzsim run smoke --name zoo", "zoo, rules, angles, bench"),
        Bad(
            "byzsim run smoke --name mine --lr 0.1",
            "has records with other settings: lr 0.5 -> 0.1",
            {"results/mine/runs.jsonl": record()},
            "records of the table as it is",
        ),
        Bad("byzsim run smoke --title ' '", "is not one line of text"),
        Bad("byzsim run smoke --labels krum", "is not of the form NAME=TEXT"),
        Bad("byzsim run smoke --labels krun=K", "Did you mean 'krum'"),
        Bad("byzsim report results/gone", "no folder results/gone"),
        Bad("byzsim report results/smoke --lr 0.1", "lr 0.5 -> 0.1 would change", runs(record())),
        Bad(
            "byzsim report results/mine",
            "does not begin with a table's name",
            {"results/mine/runs.jsonl": record()},
            "records and no config.json",
        ),
        Bad(
            "byzsim report results/smoke",
            "config.json was not written by `byzsim run`",
            runs(record()) | {"results/smoke/config.json": "{"},
            "half a config.json",
        ),
        Bad(
            "byzsim report results/smoke",
            "config.json was not written by `byzsim run`",
            runs(record()) | {"results/smoke/config.json": CONFIG % '"seeds": 3'},
            "a config.json with one number for seeds",
        ),
        Bad(
            "byzsim report results/smoke",
            "is of another version: it has the unknown settings rate",
            runs(record()) | {"results/smoke/config.json": CONFIG % '"rate": 1'},
            "a config.json with a setting that there is not",
        ),
        Bad(
            "byzsim report results/smoke",
            "epochs='many' is not a whole number",
            runs(record()) | {"results/smoke/config.json": CONFIG % '"epochs": "many"'},
            "a config.json with epochs of another kind",
        ),
        Bad("byzsim export gone", "no records in gone"),
        Bad("byzsim export results/smoke no/such/folder.csv", "cannot write no/such/folder.csv", runs(record())),
    ],
    "Partitions, traces and frames": [
        Bad("byzsim partition dirichlett --data digits", "unknown partition 'dirichlett'. Did you mean 'dirichlet'"),
        Bad(
            "byzsim partition dirichlet --data digits --options dirichlet.beta=1", "unknown option of dirichlet 'beta'"
        ),
        Bad("byzsim partition dirichlet --data digits --options dirichlet.alpha=-1", "alpha=-1"),
        Bad(
            "byzsim partition dirichlet --data digits --options dirichlet.alpha=1,2",
            "dirichlet.alpha has several values",
        ),
        Bad("byzsim partition iid --data digits --options dirichlet.alpha=1", "the partition is iid"),
        Bad("byzsim partition iid --data digits --output shards.xls", "expected a name that ends in .csv, .png"),
        Bad("byzsim partition iid --data none", "data set none has no classes to count"),
        Bad("byzsim schema --output gone/records.md", "its parent folder does not exist"),
        Bad("byzsim run smoke --trace=yes", "Unrecognized options: yes"),
        Bad("experiments.load_results('gone')", "no records in gone"),
        Bad("experiments.load_trace('.', 'ab')", "`byzsim run TABLE --trace` writes"),
        Bad("experiments.load_trace('.', 'ab')", "is not a trace", {"traces/ab.npz": "no zip"}, "another file"),
        Bad("experiments.plot.curves(few_results, 'acuracy')", "the frame has no column 'acuracy'"),
        Bad("experiments.run_table('smok')", "unknown table 'smok'. Did you mean 'smoke'"),
        Bad("experiments.run_table('smoke', rulez='mean')", "--rulez"),
    ],
    "Data files": [
        Bad("byzsim data fashon_mnist", "Did you mean 'fashion_mnist'"),
        Bad("byzsim data mnist --data-dir gone", "--data-dir gone is not a folder"),
        Bad(
            "byzsim data mnist --data-dir file", "--data-dir file is not a folder", {"file": ""}, "a file of that name"
        ),
        Bad("byzsim run smoke --data-dir gone", "--data-dir gone is not a folder"),
        Bad("byzsim data mnist", "no source has the data set 'mnist'"),
        Bad("byzsim data mnist", "is damaged", {"cache/mnist.npz": b"PK\3\4 torn"}, "the cache: half an archive"),
        Bad(
            "byzsim data mnist",
            "is damaged",
            {"cache/mnist.npz": pickle.dumps(Trap())},
            "the cache: a pickle that would run code",
        ),
        Bad(
            "byzsim data mnist",
            "which is not a class of TFDS",
            {
                "tfds/mnist/3.0.1/dataset_info.json": "{}",
                "tfds/mnist/3.0.1/features.json": '{"pythonClassName": "mine.X"}',
            },
            "a TFDS folder whose features.json names a class of the user's",
        ),
        Bad(
            "byzsim data mnist --data-dir data",
            "starts with nothing and has 0 bytes",
            four("train-images-idx3-ubyte", b""),
            "train-images-idx3-ubyte: empty",
        ),
        Bad(
            "byzsim data mnist --data-dir data",
            "starts with 00000d03",
            four("train-images-idx3-ubyte", idx(1, 28, 28, magic=0x0D)),
            "train-images-idx3-ubyte: floats",
        ),
        Bad(
            "byzsim data mnist --data-dir data",
            "the file is incomplete",
            four("train-images-idx3-ubyte", idx(2**31, 2**31, 2**31)),
            "train-images-idx3-ubyte: a header that says 2^93 bytes, and nothing behind it",
        ),
        Bad(
            "byzsim data mnist --data-dir data",
            "not the original file",
            four("train-images-idx3-ubyte", idx(1, 28, 28, data=bytes(784))),
            "train-images-idx3-ubyte: one black image",
        ),
        Bad(
            "byzsim data mnist --data-dir data",
            "cannot be read",
            four("train-images-idx3-ubyte.gz", gzip.compress(bytes(10_000), mtime=0)[:20]),
            "train-images-idx3-ubyte.gz: cut short",
        ),
        Bad(
            "byzsim data mnist --data-dir data",
            "cannot be read",
            four("train-images-idx3-ubyte.gz", b"not packed"),
            "train-images-idx3-ubyte.gz: not packed",
        ),
        Bad(
            "byzsim data cifar10 --data-dir data",
            "not the original. Download it again",
            {"data/cifar-10-binary.tar.gz": pickle.dumps(Trap())},
            "cifar-10-binary.tar.gz: a pickle that would run code",
        ),
    ],
    "Plugins": [
        Bad("byzsim run smoke --plugins gone", "plugin gone: no module 'gone' in this folder or on Python's path"),
        Bad(
            "byzsim run smoke --plugins ../mine", "is neither a module, such as my_rule, nor a file, such as my_rule.py"
        ),
        Bad("byzsim run smoke --plugins gone.py", "there is no file FOLDER/gone.py"),
        Bad("byzsim list --plugins gone", "no module 'gone'"),
        Bad("byzsim status --plugins gone", "no module 'gone'"),
        Bad("byzsim status smoke --plugins gone", "no module 'gone'"),
        Bad("byzsim verify smoke --plugins gone", "no module 'gone'"),
        Bad(
            "byzsim report smoke --plugins mine",
            "FOLDER/mine.py, line 1: '(' was never closed",
            {"mine.py": "x = (\n"},
            "mine.py: a bracket is open",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "line 2: ZeroDivisionError",
            {"mine.py": "x = 0\n1 / x\n"},
            "mine.py: divides by 0 in line 2",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "No module named 'gone'",
            {"mine.py": "import gone\n"},
            "mine.py: imports a module that is not there",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "SystemExit",
            {"mine.py": "raise SystemExit('bye')\n"},
            "mine.py: ends Python",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "neither FOLDER/mine.py nor a module that it imports",
            {"mine.py": ""},
            "mine.py: empty",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "SPEC of mine is 3; expected byzsim.Spec",
            plugin(spec="3"),
            "mine.py: SPEC = 3",
        ),
        Bad(
            "byzsim run smoke --plugins krum",
            "'krum' is a name of byzsim's own",
            {"krum.py": plugin()["mine.py"]},
            "krum.py: a rule",
        ),
        Bad(
            "byzsim run smoke --plugins mine.py other.py",
            "plugin other.py: mine also defines 'same'; rename one of them",
            several('{"same": Spec(rule, source="me")}')
            | {"other.py": several('{"same": Spec(rule, "me")}')["mine.py"]},
            "two files with a rule called same",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "its factory returns NoneType",
            plugin(spec='Spec(lambda: None, "me")'),
            "mine.py: the factory returns None",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "its option 'x' has no default",
            plugin(spec='Spec(lambda *, x: x, "me")'),
            "mine.py: an option without default",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "is also an option of 'bucketing'",
            plugin(spec='Spec(lambda *, s=1: rule(), "me")'),
            "mine.py: an option called s",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "it returns an aggregate of float32 (8, 5)",
            plugin(made="(grads, grads[:, 0])"),
            "mine.py: all rows as the aggregate",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "it returns weights of float32 (5,)",
            plugin(made="(grads[0], grads[0])"),
            "mine.py: weights of coordinates, not workers",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "mine cannot be used: AttributeError",
            plugin(made="grads.nothing"),
            "mine.py: a slip of the pen in the rule",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "unknown traits ['fast']",
            plugin(spec='Spec(rule, "me", traits={"fast"})'),
            "mine.py: a trait that there is not",
        ),
        Bad(
            "byzsim run smoke --plugins mine",
            "max_f(8) is 9",
            plugin(spec='Spec(rule, "me", max_f=lambda m: m + 1)'),
            "mine.py: a bound above m",
        ),
        Bad(
            "byzsim run smoke --plugins mine --rules mine",
            "mine fails for m=10, d=650: ",
            plugin(made="(grads.reshape(8, -1)[0], grads[:, 0])"),
            "mine.py: a rule for 8 workers only",
        ),
        Bad(
            "byzsim run smoke --plugins mine --rules mein",
            "unknown rule 'mein'. Did you mean",
            plugin(),
            "mine.py: a rule",
        ),
    ],
}

ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]]
IMAGES, LABELS = np.zeros((64, 4, 4), np.uint8), np.zeros(64, int)
SPACE = {
    "byzsim": byzsim, "jax": jax, "np": np, "rows": ROWS, "images": IMAGES, "labels": LABELS, "pair": (IMAGES, LABELS),
    "plan": plan,
    "experiments": experiments,
    "few_results": pd.DataFrame({"rule": ["mean"], "seed": [0], "measurement": [1], "accuracy": [0.5]}),
    "toy": toy,
    "published": lambda path: plan.published.check(toy(published=path)),
    "grid": grid, "Path": Path, "channel_first": (np.zeros((64, 1, 8, 8), np.uint8), LABELS),
    "program": mock.Mock(m=4, batch=4, honest_data=None),
    "data": Data(jnp.asarray(IMAGES), jnp.asarray(LABELS, jnp.uint8)),
    "few": Data(jnp.asarray(IMAGES[:3]), jnp.asarray(LABELS[:3], jnp.uint8)),
}  # fmt: skip

NEW = [
    Bad("byzsim new", "byzsim new KIND NAME, where KIND is one of table, rule"),
    Bad("byzsim new rule", "byzsim new KIND NAME"),
    Bad("byzsim new ruel mine", "unknown kind of file 'ruel'. Did you mean 'rule'"),
    Bad("byzsim new rule my-rule", "'my-rule' is no name for a file of Python"),
    Bad("byzsim new rule krum", "'krum' is a name of byzsim's own"),
    Bad("byzsim new table zoo", "'zoo' is a name of byzsim's own"),
    Bad("byzsim new rule mine", "mine.py is there already, and is left as it is", {"mine.py": ""}, "mine.py is there"),
]
WITH = "byzsim run smoke --plugins mine.py"
OWN = [
    Bad("byzsim run gone.py", "there is no file FOLDER/gone.py"),
    Bad(
        "byzsim run mine.py",
        "mine.py, line 1: '(' was never closed",
        {"mine.py": "x = (\n"},
        "mine.py: a bracket is open",
    ),
    Bad("byzsim run mine.py", "mine.py defines no tables; expected one", plugin(), "mine.py: a rule, and no table"),
    Bad("byzsim run json.py", "json.py has the name of another module", {"json.py": ""}, "json.py: empty"),
    Bad("byzsim run my-table.py", "my-table.py cannot be a module", {"my-table.py": ""}, "my-table.py: empty"),
    Bad(
        "byzsim run mine.py",
        "'smoke' is a table of byzsim's own",
        {"mine.py": OWN_TABLE.replace("NAME", "smoke")},
        "mine.py: a table called smoke",
    ),
    Bad(WITH, "SPECS of mine is [1]; expected {'name': Spec(...), ...}", several("[1]"), "mine.py: SPECS = [1]"),
    Bad(WITH, "'krum' is a name of byzsim's own", several('{"krum": Spec(rule, "me")}'), "mine.py: a rule called krum"),
    Bad(
        WITH,
        "'digits' is a name of byzsim's own",
        several('{"digits": Spec(rule, "me")}'),
        "mine.py: a rule called digits",
    ),
    Bad(
        WITH,
        "the loss of one example is float32 (); expected shape (1,)",
        task(loss=f"{PER_EXAMPLE}.mean()"),
        "mine.py: a task whose loss is a mean",
    ),
    Bad(
        WITH,
        "parameters of type int32 have no gradient; expected floating-point numbers",
        task(init="jnp.zeros(3, int)"),
        "mine.py: a task with whole numbers for parameters",
    ),
    Bad(
        f"{WITH} --task mine --data none --steps 3",
        "nothing would be measured: task mine has no test set",
        task(measured=""),
        "mine.py: a task that draws its examples and measures nothing",
    ),
    Bad(
        f"{WITH} --model mine",
        "it returns float32 (1, 3) for one example; expected (1, 10)",
        {"mine.py": MODEL},
        "mine.py: a model with three outputs",
    ),
    Bad(
        f"{WITH} --partition mine",
        "partition mine leaves worker 9 without an example",
        made(
            "jnp.where(jnp.arange(m) < m - 1, jnp.arange(m), -1)[:, None]",
            "Partition(lambda key, pool, m: VALUE, False)",
        ),
        "mine.py: a partition that leaves the last worker without examples",
    ),
    Bad(
        f"{WITH} --partition mine",
        "partition mine returns int32 (10, 0); expected whole numbers (m, n) with m=10 and n > 0",
        made("jnp.zeros((m, 0), int)"),
        "mine.py: an empty partition",
    ),
    Bad(
        f"{WITH} --partition mine",
        "partition mine returns int32 (10,); expected whole numbers (m, n)",
        made("jnp.arange(m)"),
        "mine.py: a partition of one example each, as a vector",
    ),
    Bad(
        f"{WITH} --partition mine",
        "partition mine deals out example 5000; expected 0 to 1436",
        made("jnp.full((m, 2), 5000)"),
        "mine.py: a partition with indices that are too large",
    ),
    Bad(
        f"{WITH} --partition mine",
        "partition mine fails for m=10 and 1437 examples",
        made("pool.nothing"),
        "mine.py: a slip of the pen in a partition",
    ),
    Bad(
        WITH,
        "mine cannot be used: FileNotFoundError",
        arrays("(np.load('gone.npy'), y), (x, y)"),
        "mine.py: a data set from a file that is not there",
    ),
    Bad(
        WITH,
        "train has [5, 6] examples in its arrays; expected the same number",
        arrays("(x, y[:5]), (x, y)"),
        "mine.py: a data set with a label too few",
    ),
    Bad(
        WITH,
        "here: train has a label 5, expected 0 to 2",
        arrays("dataset((x.astype('f'), y, x.astype('f'), y), n_classes=3, source='here')"),
        "mine.py: a data set with labels outside of its three classes",
    ),
    Bad(
        WITH,
        "train and test inputs differ: (2,) and (1,); expected examples of one shape",
        arrays("(x, y), (x[:, :1], y)"),
        "mine.py: a data set with narrower test examples",
    ),
    Bad("byzsim run smoke --partition dirichlett", "unknown partition 'dirichlett'. Did you mean 'dirichlet"),
    Bad("byzsim run smoke --task clasification", "unknown task 'clasification'. Did you mean 'classification'"),
]
CLI |= {"Files of one's own": OWN, "byzsim new": NEW}

PYTHON = {
    "Arrays and arguments of byzsim.aggregate": [
        Bad("byzsim.aggregate('mean', [1.0, 2.0])", "shape (2,); expected (m, d)"),
        Bad("byzsim.aggregate('mean', [])", "shape (0,)"),
        Bad("byzsim.aggregate('mean', np.zeros((3, 0)))", "shape (3, 0)"),
        Bad("byzsim.aggregate('mean', np.zeros((2, 3, 4, 1)))", "shape (2, 3, 4, 1)"),
        Bad("byzsim.aggregate('mean', [['a', 'b']])", "expected real numbers"),
        Bad("byzsim.aggregate('mean', [[1j, 2]])", "complex128; expected real numbers"),
        Bad("byzsim.aggregate('mean', [[True, False]])", "bool; expected real numbers"),
        Bad("byzsim.aggregate('mean', [[1, 2], [3]])", "gradients are not an array"),
        Bad("byzsim.aggregate('mean', None)", "object; expected real numbers"),
        Bad("byzsim.aggregate('mean', {})", "gradients are a tree without arrays"),
        Bad("byzsim.aggregate('mean', {'w': np.ones((3, 2)), 'b': np.ones(4)})", "expected the same number of workers"),
        Bad("byzsim.aggregate('mean', {'w': np.ones(3), 'n': np.ones(3, int)})", "gradients['n'] is int64"),
        Bad("byzsim.aggregate('mean', [{'w': np.ones(2)}, {'v': np.ones(2)}])", "gradients[1] is "),
        Bad(
            "byzsim.aggregate('mean', [{'w': np.ones(2)}, {'w': np.ones(3)}])",
            "gradients[1]['w'] is float64 of shape (3,)",
        ),
        Bad("byzsim.aggregate('mean', [{'w': np.ones(2)}, {'w': np.float16([1, 2])}])", "gradients[1]['w'] is float16"),
        Bad("byzsim.aggregate(byzsim.krum, rows, f=1)", "rule is the function krum; call it"),
        Bad("byzsim.aggregate(byzsim.krum(), rows, f=1, variant='byzfl')", "the rule is made already: give variant to"),
        Bad("byzsim.chain(byzsim.krum(), byzsim.krum())", "expected a preaggregator or a modifier"),
        Bad("byzsim.chain(byzsim.nnm())", "expected a rule or an attack"),
        Bad("jax.jit(lambda f: byzsim.aggregate('krum', rows, f=f))(1.0)", "f is traced as float32 of shape ()"),
        Bad("byzsim.aggregate('mean', np.array(rows, object))", "np.asarray(rows, float) makes the array"),
        Bad("byzsim.aggregate('mean', np.ma.masked_greater(rows, 4))", "masked entries"),
        Bad("byzsim.aggregate('median', rows, f=2, strict=True)", "median's guarantee covers f <= 1 for m=3; got f=2"),
        Bad("byzsim.aggregate('centered_clipping', rows, tau=np.ones(2))", "tau is an array of shape (2,)"),
        Bad("byzsim.aggregate('krumm', rows)", "unknown rule 'krumm'. Did you mean 'krum'"),
        Bad("byzsim.aggregate('nnm+krum', rows, f=1, variant='torch')", "Did you mean 'torchjd'"),
        Bad("byzsim.aggregate(None, rows)", "rule=None is not a name"),
        Bad("byzsim.aggregate('median', rows, f=-1)", "f=-1 is not a whole number from 0 to m=3"),
        Bad("byzsim.aggregate('median', rows, f=4)", "f=4 is not a whole number from 0 to m=3"),
        Bad("byzsim.aggregate('median', rows, f=1.0)", "f=1.0 is not a whole number"),
        Bad("byzsim.aggregate('median', rows, seed=-1)", "seed=-1 is not a whole number from 0 to 2**32 - 1"),
        Bad("byzsim.aggregate('median', rows, lr=float('nan'))", "lr=nan is not a finite number"),
        Bad(
            "byzsim.aggregate('median', rows, midle='lower')", "unknown option of median 'midle'. Did you mean 'middle'"
        ),
        Bad("byzsim.aggregate('median', rows, middle=['lower'])", "middle=['lower'] is not one of 'mean', 'lower'"),
        Bad(
            "byzsim.aggregate('centered_clipping', rows, tau=-1.0)",
            "tau=-1.0 is not one of a number above 0, 'majority'",
        ),
        Bad("byzsim.aggregate('mean', rows, params=[1.0, 2.0, 3.0])", "params has shape (3,); expected (2,)"),
        Bad("byzsim.aggregate('mean', rows, params='here')", "params have dtype <U4"),
        Bad("byzsim.aggregate('fltrust', rows)", "fltrust needs the server's own data"),
        Bad("byzsim.aggregate('fltrust', rows, server_loss=3)", "server_loss=3 is not a function"),
        Bad(
            "byzsim.aggregate('fltrust', rows, server_gradient=[1.0])", "server_gradient has shape (1,); expected (2,)"
        ),
    ],
    "Arrays and arguments of byzsim.attack": [
        Bad("byzsim.forge('alei', rows, n_byz=1)", "unknown attack 'alei'. Did you mean 'alie'"),
        Bad("byzsim.forge('label_flip', rows, n_byz=1)", "label_flip changes labels, not gradients"),
        Bad("byzsim.forge('alie', rows, n_byz=-1)", "n_byz=-1 is not a whole number"),
        Bad("byzsim.forge('alie', rows, n_byz=1.5)", "n_byz=1.5 is not a whole number"),
        Bad("byzsim.forge('alie', rows, n_byz=10**12)", "GB are available"),
        Bad("byzsim.forge('alie', rows, n_byz=1, f=9)", "f=9 is not a whole number from 0 to m=4"),
        Bad("byzsim.forge('alie', rows, n_byz=1, rule_args=5)", "options of mean are 5; expected a mapping"),
        Bad("byzsim.forge('alie', rows, n_byz=1, previous=[1.0])", "previous has shape (1,); expected (2,)"),
        Bad(
            "byzsim.forge('scaling', rows, n_byz=1)", "scaling reads what the attackers would send if they were honest"
        ),
        Bad(
            "byzsim.forge('scaling', rows, n_byz=1, byzantine_gradients=[[1.0]])",
            "byzantine_gradients has shape (1, 1); expected (1, 2)",
        ),
        Bad("byzsim.forge('alie', rows, n_byz=1, z=float('inf'))", "alie: z=inf is not a finite number"),
        Bad("byzsim.forge('learned', rows, n_byz=1, loss_after=1.0)", "loss_after=1.0 is not a function"),
    ],
    "Arguments of byzsim.robustness": [
        Bad("byzsim.robustness('median', m=11, f=0)", "f=0 is not from 1 to (m - 1) // 2 = 5"),
        Bad("byzsim.robustness('median', m=1, f=1)", "f=1 is not from 1 to (m - 1) // 2 = 0"),
        Bad("byzsim.robustness('median', m=11.0, f=2)", "m=11.0 is not a whole number"),
        Bad("byzsim.robustness('median', m=11, f=2, d=0)", "expected d of at least 1"),
        Bad("byzsim.robustness('median', m=10**9, f=2)", "GB are available"),
        Bad(
            "byzsim.robustness('safeguard', m=11, f=2)", "safeguard has no kappa: it is no function of one step's rows"
        ),
    ],
    "Runs, and data of byzsim.simulate": [
        Bad("byzsim.RunConfig(rule='krumm')", "unknown rule 'krumm'. Did you mean 'krum'"),
        Bad("byzsim.RunConfig(rule_args=None)", "options of mean are None; expected a mapping"),
        Bad("byzsim.RunConfig(rule='krum', rule_args={1: 2})", "unknown option of krum '1'"),
        Bad("byzsim.RunConfig(rule='krum', rule_args={'variant': 'bizfl'})", "Did you mean 'byzfl'"),
        Bad("byzsim.RunConfig(model='lennet')", "unknown model 'lennet'. Did you mean 'lenet'"),
        Bad("byzsim.RunConfig(m=2.5)", "m=2.5 is not a whole number"),
        Bad("byzsim.RunConfig(m=True)", "m=True is not a whole number"),
        Bad("byzsim.RunConfig(m=1, n_byz=2)", "n_byz=2 is more than there are workers, m=1"),
        Bad("byzsim.RunConfig(f=-1)", "f=-1 is below 0"),
        Bad("byzsim.RunConfig(f=21)", "f=21 is more than there are workers, m=20"),
        Bad("byzsim.RunConfig(n_byz=2, byzantine=(0, 0))", "does not name n_byz=2 different workers"),
        Bad("byzsim.RunConfig(n_byz=1, byzantine=3)", "byzantine=3 is not a list of workers"),
        Bad("byzsim.RunConfig(n_byz=1, byzantine=(0.5,))", "is not a list of workers"),
        Bad("byzsim.RunConfig(lr=float('nan'))", "lr=nan is not a finite number above 0"),
        Bad("byzsim.RunConfig(lr='fast')", "lr='fast' is not a number"),
        Bad("byzsim.RunConfig(lr=10**400)", "is not a finite number above 0"),
        Bad("byzsim.RunConfig(optimizer=None)", "optimizer=None is not a name"),
        Bad("byzsim.RunConfig(optimizer_args={'momentun': 0.9})", "unknown option of sgd 'momentun'"),
        Bad("byzsim.RunConfig(optimizer_args={'momentum': 'x'})", "optimizer sgd cannot be used with options"),
        Bad("byzsim.RunConfig(momentum=['ema'])", "unknown momentum"),
        Bad(
            "byzsim.simulate(pair, pair, m=4, n_byz=1, model='softmax', strict=True)",
            "mean's guarantee covers f <= 0 for m=4",
        ),
        Bad("byzsim.simulate(pair, pair, epoch=3)", "unknown field of a run 'epoch'. Did you mean 'epochs'"),
        Bad("byzsim.simulate(images, pair)", "train is ndarray; expected (inputs, labels)"),
        Bad("byzsim.simulate(None, pair)", "give train=(inputs, labels) and test=(inputs, labels)"),
        Bad(
            "byzsim.simulate((images.astype(str), labels), pair)",
            "train inputs are <U3 of shape (64, 4, 4); expected numbers",
        ),
        Bad("byzsim.simulate((images[:0], labels[:0]), pair)", "train inputs are uint8 of shape (0, 4, 4)"),
        Bad("byzsim.simulate((images, labels[:-1]), pair)", "train has [63, 64] examples in its arrays"),
        Bad(
            "byzsim.simulate((images, labels / 2), pair)",
            "train labels are float32 of shape (64,); expected whole numbers",
        ),
        Bad(
            "byzsim.simulate(pair, (images[:, :3], labels), m=4, model='softmax')",
            "train and test inputs differ: (4, 4) and (3, 4)",
        ),
        Bad("byzsim.simulate(pair, pair, m=4, batch=4)", "images too small"),
        Bad("byzsim.simulate(channel_first, channel_first, m=4, batch=4)", "is the channel first?"),
        Bad("byzsim.simulate(pair, pair, m=20)", "batch=8 is larger than a worker's shard"),
        Bad("grid.run(program, [], data, data, epochs=0)", "expected at least 1 of each"),
        Bad("grid.run(program, [], data, data, epochs=1, runs_per_device=0)", "expected at least 1 of each"),
        Bad("grid.run(program, [], few, data, epochs=1)", "3 examples are too few for m=4 batches of 4"),
    ],
    "Own rules and attacks from Python": [
        Bad("byzsim.register('krum', byzsim.AGGREGATORS['krum'])", "'krum' is a name of byzsim's own"),
        Bad(
            "byzsim.register('mine', byzsim.Spec(byzsim.AGGREGATORS['median'].factory, source='me', "
            "variants=byzsim.AGGREGATORS['krum'].variants))",
            "mine cannot be used: unknown option of its variant blanchard2017 'variant'",
        ),
        Bad("byzsim.register('my rule', byzsim.AGGREGATORS['krum'])", "'my rule' is no name"),
        Bad(
            "byzsim.register('mine', byzsim.Spec(lambda: 'rule', source='me'))",
            "its factory returns str; expected an Aggregator, an Attack, a Task, a Partition, a model",
        ),
        Bad("byzsim.testing.check_rule('krumm')", "unknown member 'krumm'. Did you mean 'krum'"),
        Bad("byzsim.testing.check_rule(3)", "3 cannot be checked; expected a name, a Spec, a factory or Aggregator"),
        Bad("byzsim.testing.check_rule('krum', only=['robust'])", "unknown promise 'robust'"),
        Bad("byzsim.testing.check_attack(byzsim.AGGREGATORS['krum'])", "the factory makes Aggregator; expected Attack"),
        Bad("byzsim.testing.check_task('classification')", "trains on a data set: give train=(inputs, labels)"),
        Bad("byzsim.register('mine', print)", "expected byzsim.Spec(factory, source='...')"),
        Bad("byzsim.register('mine', byzsim.Spec(None, source='me'))", "mine cannot be used: TypeError"),
    ],
    "Published tables": [
        Bad("published('gone.csv')", "cannot read gone.csv"),
        Bad("published('empty.csv')", "empty.csv is not a table: No columns", {"empty.csv": ""}, "empty"),
        Bad("published('short.csv')", "short.csv has no column 'rule'", {"short.csv": "accuracy\n"}, "one column"),
        Bad(
            "published('words.csv')",
            "words.csv is not a table of numbers",
            {"words.csv": "rule,accuracy\nkrum,high\n"},
            "an accuracy that is no number",
        ),
        Bad(
            "published('other.csv')",
            "the published number of rule krun matches no cell",
            {"other.csv": "rule,accuracy\nkrun,80\n"},
            "a rule that the table does not have",
        ),
        Bad(
            "published('two.csv')",
            "two published numbers of krum",
            {"two.csv": "rule,accuracy\nkrum,80\nkrum,81\n"},
            "two numbers of one cell",
        ),
    ],
    "Tables in files": [
        Bad(
            "plan.expand(toy(plan.axis('lr', {'low': {'lrr': 0.1}})))",
            "unknown field in axis lr 'lrr'. Did you mean 'lr'",
        ),
        Bad("plan.expand(toy(base={'epoch': 1}))", "unknown field in the base 'epoch'. Did you mean 'epochs'"),
        Bad("plan.axis('lr', [0.1, 0.1])", "axis lr has 0.1 twice"),
        Bad("plan.expand(toy(plan.axis('lr', [])))", "no runs: the axis lr has no settings"),
        Bad(
            "plan.expand(toy(plan.axis('lr', [0.1, 0.2]), plan.axis('how', {'slow': {'lr': 0.01}})))",
            "the axes lr and how both set lr",
        ),
        Bad(
            "plan.expand(toy(plan.axis('how', {'a': {'krum.variant': 'blanchard2017'}, 'b': {}})))",
            "axis how: the settings a and b give the same runs",
        ),
        Bad("plan.expand(toy(plan.axis('lr', [0.1]), plan.axis('lr', [0.2])))", "an axis is named twice: lr"),
        Bad("plan.expand(toy(rows=['lr']))", "unknown axis of the table toy 'lr'"),
        Bad("plan.expand(toy(base={'krumm.variant': 'byzfl'}))", "unknown name of this table in --options 'krumm'"),
    ],
}
AREAS = CLI | PYTHON
BAD = [bad for area in AREAS.values() for bad in area]


@functools.cache
def outcome(number: int) -> Outcome:
    """What comes of `BAD[number]`, tried in a folder of its own, where nothing can be compiled or fetched."""
    bad = BAD[number]
    with tempfile.TemporaryDirectory() as name, _alone(folder := Path(name).resolve()):
        for path, content in bad.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
        before = set(_files(folder))
        code, message = _command(bad.given, folder) if bad.given.startswith("byzsim ") else _call(bad.given)
        written = sorted(set(_files(folder)) - before)
    return Outcome(code, message.strip().replace(str(folder), "FOLDER"), written)


def _files(folder: Path) -> list[str]:
    """All but what Python compiled, and the empty file by which a results folder is locked."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc" and path.name != ".lock"]
    return [str(path.relative_to(folder)) for path in paths]


def _command(given: str, folder: Path) -> tuple[int, str]:
    args = [part.replace("FOLDER", str(folder)) for part in shlex.split(given)[1:]]
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        return cli.main(args), said.getvalue()


def _call(given: str) -> tuple[int, str]:
    try:
        eval(given, dict(SPACE))  # our own text above
    except ValueError as error:
        return 2, str(error)
    except UserError as error:
        return 2, str(error)
    return 0, "nothing was wrong"


def _never(*_, **__):
    raise AssertionError("a program was compiled")


def _unreachable(*_, **__):
    raise urllib.error.URLError("no internet")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """In this folder; without internet, apt and compiling; and whatever plugins do is undone."""
    compiling = [
        (programs, "programs"),
        (api, "_aggregating"),
        (api, "_forging"),
        (importlib.import_module("byzsim.kappa"), "_compiled"),
    ]
    places = {"BYZSIM_CACHE": str(folder / "cache"), "TFDS_DATA_DIR": str(folder / "tfds")}
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(mock.patch.dict(os.environ, places))
        for name in ("use_all_cores", "keep_compiled"):  # settings of the process
            stack.enter_context(mock.patch.object(devices, name, lambda **_: None))
        stack.enter_context(mock.patch.object(sys, "path", list(sys.path)))
        stack.enter_context(mock.patch.object(sys, "dont_write_bytecode", True))
        stack.enter_context(mock.patch("urllib.request.urlopen", _unreachable))
        stack.enter_context(mock.patch.object(_debian.shutil, "which", lambda tool: None))
        for module, name in compiling:
            stack.enter_context(mock.patch.object(module, name, _never))
        try:
            yield
        finally:
            for name, module in list(sys.modules.items()):
                if str(getattr(module, "__file__", None)).startswith(str(folder)):
                    del sys.modules[name]
            for name in {name for zoo in registration.KINDS.values() for name in zoo} - BUILT_IN:
                registration.forget(name)
            for zoo, built_in in ((TABLES, plugins.TABLES_BUILT_IN), (datasets.DATASETS, datasets.BUILT_IN)):
                for name in zoo.keys() - built_in:
                    del zoo[name]


def page() -> str:
    """docs/bad-inputs.md."""
    parts = [
        "# Bad inputs",
        f"All {len(BAD)} that the tests try, with the answers that they got: made from `tests/bad_inputs.py`, by "
        "`python tests/bad_inputs.py docs/bad-inputs.md`. A command prints the one message to stderr behind "
        "`byzsim: ` and ends with exit code 2, before anything is written, compiled or trained; `--debug` shows the "
        "traceback above it. Python calls raise `ValueError` (readers of files: `UserError`) with the message. "
        "`FOLDER` is the folder where it was tried; lists of known names are cut here, and N stands for this machine's "
        "memory.",
        "An error that is not the user's (a bug) is one line, too, and ends with exit code 70; Ctrl-C ends with 130. "
        "Files that are read are data: nothing in them is executed, imported or unpickled. Modules named after "
        "`--plugins`, and nothing else, are imported.",
    ]
    numbers = iter(range(len(BAD)))
    for area, members in AREAS.items():
        rows = [
            (f"`{bad.given}`" + f"; {bad.what}" * bool(bad.what), _short(outcome(next(numbers)).message))
            for bad in members
        ]
        parts += [f"## {area}", markdown_table(("input", "answer"), rows)]
    return "\n\n".join(parts) + "\n"


def _short(message: str) -> str:
    text = " ".join(message.removeprefix("byzsim: ").split())
    text = re.sub(r"Known: .*?\.( |$)", r"Known: ...\1", text)
    text = re.sub(r"(do one of the following:) .*", r"\1 ...", text)
    text = re.sub(r"[0-9a-f]{64}", "...", text)
    text = re.sub(r"[\d,.]+ GB are available", "N GB are available", text)
    return text.replace("<", "&lt;")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
