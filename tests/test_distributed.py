"""Several processes as one, on the loopback address."""

import functools
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from byzsim.experiments import cli, records
from byzsim.experiments.errors import UserError
from byzsim.experiments.run import distributed

RUN = ["run", "smoke", "--only", "rule=mean,attack=gaussian,alpha=0.2", "--epochs", "20", "--seeds", *"0123456"]
OFTEN = [*RUN, "--checkpoint", "0"]
FOLDER = "smoke+epochs=20"


@pytest.fixture
def start(environment, tmp_path):
    return functools.partial(started, tmp_path, environment)


def started(folder, environment, *, devices=(1, 1), others=(), run=OFTEN):
    """Processes of one run, the last of them with `others` in its command."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = [
        "--distributed",
        "--coordinator",
        f"127.0.0.1:{port}",
        "--num-processes",
        str(len(devices)),
        "--process-id",
    ]
    return [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "byzsim.experiments",
                *run,
                "--results",
                str(folder / str(i)),
                *where,
                str(i),
                *more,
            ],
            env=environment | {"JAX_NUM_CPU_DEVICES": str(count)},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i, (count, more) in enumerate(zip(devices, [*[()] * (len(devices) - 1), others], strict=True))
    ]


def ended(processes):
    """(exit codes, outputs), once all have ended."""
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def kill_after_a_record(processes, which, path, how=signal.SIGKILL):
    """Once there are records, and checkpoints of runs that have none."""
    while not half_done(path):
        assert all(process.poll() is None for process in processes), ended(processes)
        time.sleep(0.02)
    processes[which].send_signal(how)


def half_done(path):
    recorded = path.read_text() if path.exists() else ""
    runs = {file.name.partition(".")[0] for file in path.parent.glob("checkpoints/*.msgpack")}
    return recorded.count("\n") >= 2 and any(run_config not in recorded for run_config in runs)


def numbers(path):
    """What was computed, without where and when."""
    own = {"seconds", "time", "device"}
    return {r["id"]: {k: v for k, v in r.items() if k not in own} for r in records.read(path)}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The records of one process with two devices."""
    folder = tmp_path_factory.mktemp("alone")
    assert cli.main([*RUN, "--results", str(folder)]) == 0
    return numbers(folder / FOLDER / "runs.jsonl")


@pytest.mark.faults
def test_a_killed_process_ends_all_and_the_next_start_completes_with_the_same_bits(start, tmp_path, alone):
    path = tmp_path / "0" / FOLDER / "runs.jsonl"
    processes = start()
    kill_after_a_record(processes, 1, path)
    codes, outputs = ended(processes)
    assert codes[0] not in (0, None) and "process 0 of 2: 1 of 2 devices" in outputs[0]
    assert "the same command continues with the rest" in outputs[0] or "another task died" in outputs[0]
    before = path.read_bytes()
    assert 2 <= before.count(b"\n") < len(alone)

    codes, outputs = ended(start())
    assert codes == [0, 0], outputs
    assert "continuing with mean, gaussian" in outputs[0]
    assert path.read_bytes().startswith(before) and numbers(path) == alone
    assert not (path.parent / "checkpoints").exists()
    assert "process 1 of 2: 1 of 2 devices" in outputs[1] and "seed" not in outputs[1]
    assert (path.parent / "README.md").exists() and not (tmp_path / "1").exists()  # one process writes


@pytest.mark.faults
def test_the_first_process_killed(start, tmp_path, alone):
    path = tmp_path / "0" / FOLDER / "runs.jsonl"
    processes = start()
    kill_after_a_record(processes, 0, path)
    codes, outputs = ended(processes)
    assert codes[1] not in (0, None) and "another" in outputs[1]
    codes, outputs = ended(start(devices=(1, 2)))  # not as many on each, so checkpoints are not used
    assert codes == [0, 0] and numbers(path) == alone, outputs
    assert "was made with device 2 x" in outputs[0]


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_one_process_completes_what_two_began(start, tmp_path, alone, capfd, how):
    path = tmp_path / "0" / FOLDER / "runs.jsonl"
    processes = start()
    kill_after_a_record(processes, 1, path, how)
    codes, _ = ended(processes)
    assert 0 not in codes
    assert cli.main([*RUN, "--results", str(tmp_path / "0")]) == 0
    assert numbers(path) == alone and "continuing with mean, gaussian" in capfd.readouterr().out


FAILING = """\
import jax

from byzsim import Spec
from byzsim.types import stateless

def failing(grads, ctx):
    if jax.config.jax_default_matmul_precision:  # in a run, and not when it is tried before
        raise RuntimeError("it cannot")
    return grads.mean(axis=0), grads[:, 0]

SPEC = Spec(lambda: stateless(failing), source="me", max_f=lambda m: 0)
"""


@pytest.mark.slow
def test_a_run_that_fails_on_all_is_recorded_and_the_rest_go_on(start, tmp_path):
    (tmp_path / "my_rule.py").write_text(FAILING)
    part = ["--only", "attack=gaussian,alpha=0.2", "--epochs", "1", "--seeds", "0"]
    codes, outputs = ended(start(run=["run", "smoke", "--plugins", "my_rule", "--rules", "my_rule", "mean", *part]))
    assert codes == [1, 1], outputs
    (folder,) = (tmp_path / "0").iterdir()
    (failure,) = records.read(folder / "failures.jsonl", fields=frozenset({"failed"}))
    assert failure["rule"] == "my_rule" and "it cannot" in failure["failed"]
    assert [record["rule"] for record in records.read(folder / "runs.jsonl")] == ["mean"]


@pytest.mark.faults
@pytest.mark.parametrize(
    ("others", "message"),
    [
        (["--lr", "0.1"], "process 1 on .* has another command than process 0"),
        (
            ["--options", "nobody.x=1"],
            "process 1 on .*unknown rule, attack or model of this table in --options .nobody.",
        ),
    ],
)
def test_processes_that_differ_all_say_so_and_end(start, others, message):
    codes, outputs = ended(start(others=others))
    assert codes == [2, 2]
    for output in outputs:
        assert re.search(message, output)


@pytest.fixture
def process(monkeypatch):
    """Process 0 of two; what the other one sends is to be set."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    return distributed.Distributed()


def test_a_single_process_agrees_with_itself():
    single = distributed.SINGLE
    assert single.is_primary and single.all_gather(3) == [3] and single.broadcast(lambda: [1]) == [1]
    assert single.broadcast_bytes(lambda: "x", raised, raised) == "x" and single.run_on_all(lambda: 2) == 2
    single.check_consistent(command="a")
    assert not single.is_peer_failure(MemoryError())


def test_what_fails_on_one_process_ends_all_with_its_message(process, monkeypatch):
    monkeypatch.setattr(process, "all_gather", lambda mine: [["one", None], ["two", "no disk"]])
    with pytest.raises(UserError, match="process 1 on two: no disk"):
        process.run_on_all(lambda: 1)
    with pytest.raises(RuntimeError, match="own"):
        process.run_on_all(lambda: raised(RuntimeError("own")))


def raised(error):
    raise error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 8 GB"), True),
        (MemoryError(), True),
        (OSError(5, "disk"), True),
        (ValueError("INVALID: a rule's own words"), False),
    ],
)
def test_which_errors_may_leave_the_other_processes_behind(process, error, expected):
    assert process.is_peer_failure(error) is expected


def test_another_command_on_another_host_is_refused(process, monkeypatch):
    gathered = [["one", {"command": "a", "data": "x"}], ["two", {"command": "b", "data": "x"}]]
    monkeypatch.setattr(process, "all_gather", lambda mine: gathered)
    with pytest.raises(UserError, match="process 1 on two has another command than process 0 on one"):
        process.check_consistent(command="a", data="x")


def test_what_the_primary_broadcasts_is_what_every_process_gets(process):
    """With one process of JAX's, where every message goes through the same program."""
    assert process.all_gather({"a": 1})[0] == {"a": 1} and process.broadcast(lambda: [1, 2]) == [1, 2]
    assert process.broadcast_bytes(lambda: "text", str.encode, bytes.decode) == "text"
    process.is_primary = False
    process.all_gather = lambda value: [4, value]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "_gather", lambda mine, take: np.frombuffer(b"text", np.uint8))
        assert process.broadcast_bytes(lambda: raised(AssertionError()), str.encode, bytes.decode) == "text"
