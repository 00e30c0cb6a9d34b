"""What is public: every factory under its name, for editors too, and what a chain refuses."""

import ast
import inspect
from pathlib import Path

import byzsim
import pytest
from byzsim import captured
from zoo import ZOOS

NAMES = {name: (kind, spec) for kind, zoo in ZOOS.items() for name, spec in zoo.items()}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_factory_is_public_with_its_options(name):
    kind, spec = NAMES[name]
    assert getattr(byzsim, name) is spec.factory and name in dir(byzsim)
    assert inspect.getdoc(spec.factory) and all(p.kind is p.KEYWORD_ONLY for p in options(spec))
    assert byzsim.FACTORIES[name] == f"{kind}.{name}"


def options(spec):
    return inspect.signature(spec.factory).parameters.values()


def test_editors_know_every_factory():
    """`byzsim` finds them when they are used; editors and type checkers read factories.py, a line for each."""
    file = Path(byzsim.__file__).with_name("factories.py")
    lines = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    found = {(line.module, line.names[0].name, line.names[0].asname) for line in lines}
    assert found == {(f"byzsim.{kind}.{name}", name, name) for name, (kind, _) in NAMES.items()}


@pytest.mark.parametrize(
    "name", sorted(name for name, (kind, _) in NAMES.items() if kind in ("aggregators", "attacks"))
)
def test_what_a_factory_makes_twice_is_the_same(name):
    """So a call with it does not compile again."""
    make = NAMES[name][1].factory
    assert captured.captured(tuple(make())) == captured.captured(tuple(make()))


@pytest.mark.parametrize("name", sorted(name for name, (kind, _) in NAMES.items() if kind == "preaggregators"))
def test_so_is_a_chain(name):
    one, other = (byzsim.chain(getattr(byzsim, name)(), byzsim.krum(variant=v)) for v in ("byzfl", "byzfl"))
    assert captured.captured(tuple(one)) == captured.captured(tuple(other))
    third = byzsim.chain(getattr(byzsim, name)(), byzsim.krum(variant="torchjd"))
    assert captured.captured(tuple(one)) != captured.captured(tuple(third))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "the last part of a chain is None; expected a rule or an attack"),
        ([byzsim.nnm()], "the last part of a chain is a preaggregator or a modifier; expected a rule or an attack"),
        ([byzsim.krum], r"the last part of a chain is the function krum, which has to be called, as in krum\(\)"),
        ([byzsim.nnm, byzsim.krum()], r"before its last is the function nnm, which has to be called, as in nnm\(\)"),
        ([byzsim.krum(), byzsim.krum()], "before its last is an Aggregator; expected a preaggregator or a modifier"),
        ([2, byzsim.alie()], "before its last is 2; expected"),
    ],
)
def test_what_is_no_chain_is_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        byzsim.chain(*parts)


def test_a_context_says_what_is_missing():
    ctx = byzsim.Context(f=2)
    assert (ctx.f, int(ctx.step), ctx.lr, ctx._replace(f=1).f) == (2, 0, 1.0, 1)
    with pytest.raises(ValueError, match=r"the parameters are read: give params=\.\.\."):
        _ = ctx.params
    with pytest.raises(ValueError, match=r"the last aggregate is read: give previous=\.\.\."):
        _ = ctx._replace(lr=0.1).previous
    with pytest.raises(ValueError, match="this rule needs the server's own data"):
        ctx.server_loss(1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'g'"):
        ctx._replace(g=1)
