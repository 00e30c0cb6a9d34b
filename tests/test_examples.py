"""The examples in public docstrings give what they show."""

import doctest
import importlib

import byzsim
import pytest

SHOWN = sorted(name for name, home in byzsim.HOMES.items() if home and name.islower())  # functions; ops: test_ops.py


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_what_is_public_is_shown_by_an_example(name):
    home = importlib.import_module(f"byzsim.{byzsim.HOMES[name]}")
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(byzsim, name), name, home)
    assert example.examples
    failed = doctest.DocTestRunner().run(example).failed
    byzsim.AGGREGATORS.pop("shortest", None)  # what the example of `register` leaves
    assert failed == 0
