"""What users may get wrong: each entry of `bad_inputs` is tried, and docs/bad-inputs.md says what it got."""

import errno
import os
from pathlib import Path

import bad_inputs
import pytest
from bad_inputs import AREAS, BAD, outcome
from byzsim.experiments import cli, records
from byzsim.experiments.cli.commands import list as list_command

PAGE = Path(__file__).parent.parent / "docs" / "bad-inputs.md"


@pytest.mark.parametrize("number", range(len(BAD)), ids=[f"{bad.given[:80]}: {bad.expected[:30]}" for bad in BAD])
def test_bad_input_is_one_message_before_anything_slow(number):
    bad, (code, message, written) = BAD[number], outcome(number)
    assert code == 2, message
    assert bad.expected in message
    assert message.startswith("byzsim: ") == bad.given.startswith("byzsim ")
    assert "Traceback" not in message and len(message) < 1500 and message.count("byzsim: ") <= 1
    assert not written


def test_the_page_is_what_was_tried():
    """Mend with: python tests/bad_inputs.py docs/bad-inputs.md"""
    assert PAGE.read_text() == bad_inputs.page()


def test_no_input_is_tried_twice():
    assert len(BAD) >= 40 and all(AREAS.values())
    assert len({(bad.given, str(bad.files)) for bad in BAD}) == len(BAD)


def test_debug_shows_the_traceback_behind_the_same_message(capsys):
    for args in (["--debug", "run", "smok"], ["run", "smok", "--debug"]):
        assert cli.main(args) == 2
        said = capsys.readouterr().err
        assert said.startswith("Traceback") and "byzsim: unknown table 'smok'" in said.splitlines()[-1]


def test_an_error_of_ours_is_one_line_and_exit_code_70(monkeypatch, capsys):
    def broken(args):
        raise KeyError("a slip\nof ours")

    monkeypatch.setattr(list_command, "main", broken)
    assert cli.main(["list"]) == 70
    said = capsys.readouterr().err
    assert said.startswith("byzsim: KeyError: ") and "an error in byzsim" in said and "--debug" in said
    assert said.count("\n") == 1
    assert cli.main(["list", "--debug"]) == 70
    assert "in broken" in capsys.readouterr().err


def test_a_folder_that_another_run_has(tmp_path, capsys):
    (tmp_path / "smoke").mkdir()
    with records.exclusive(tmp_path / "smoke"):
        assert cli.main(["run", "smoke", "--results", str(tmp_path)]) == 2
    assert f"in use by process {os.getpid()}" in capsys.readouterr().err


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")])
def test_too_little_memory_is_no_error_of_ours(monkeypatch, capsys, error):
    def full(args):
        raise error

    monkeypatch.setattr(list_command, "main", full)
    assert cli.main(["list"]) == 2
    assert "out of memory" in capsys.readouterr().err


def test_a_folder_without_permission(monkeypatch, tmp_path, capsys):
    """Root may write anywhere, so the refusal is made."""

    def refused(path, content):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refused)
    assert cli.main(["run", "smoke", "--results", str(tmp_path)]) == 2
    assert "cannot write results to" in capsys.readouterr().err


def test_a_refused_run_leaves_no_folder(tmp_path, capsys):
    """What fits is known only once the data are loaded; the folder is made after that."""
    assert cli.main(["run", "smoke", "--model", "lenet", "--results", str(tmp_path / "results")]) == 2
    assert "images too small" in capsys.readouterr().err and not list(tmp_path.iterdir())
