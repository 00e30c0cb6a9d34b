"""What the changed settings of a table mean for its report: title and labels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from byzsim.experiments.errors import UserError, counted, unknown
from byzsim.experiments.plan import Table, label, settings
from byzsim.experiments.plan.published import Numbers
from byzsim.experiments.plan.settings import PLURALS

DESCRIBED = frozenset({"model", "data", "m", "batch", "epochs", "steps", "total_steps", "lr", "task"})
"""settings that a title has, whether they are changed or not"""


def title(original: Table, table: Table, published: Numbers, *, quick: bool, labels: Mapping[str, str]) -> str:
    """The table's title if nothing but seeds was changed or it still has published numbers; otherwise the settings."""
    own, now = (settings(each.without("seed")) for each in (original, table))
    if not quick and own == now:
        return table.title
    if not published:
        return described(table)
    ours = {setting for each in original.axes for setting in each.settings}
    further = [
        label(setting, labels)
        for each in table.without("seed").axes
        for setting in each.settings
        if setting not in ours
    ]
    return table.title + (f", with {', '.join(further)}" if further else "")


def described(table: Table) -> str:
    """A title made from the settings; those that are seldom changed occur only if they differ from the default."""
    usual = settings(Table(name="", title="", source=""))
    axes = {PLURALS.get(each.name, each.name) for each in table.axes}
    now = {name: values for name, values in settings(table).items() if name not in axes}
    one: dict[str, Any] = {name: values[0] for name, values in now.items() if len(values) == 1 and name in DESCRIBED}
    words = [_what(one), *_size(one)]
    changes = [
        f"{name} {' '.join(map(str, values))}"
        for name, values in now.items()
        if name not in (*DESCRIBED, "options", "seeds") and values != usual.get(name) and values
    ]
    return ", ".join([*words, *changes, *now["options"]])


def _what(one: Mapping[str, Any]) -> str:
    task, model = one.get("task", "classification"), one.get("model")
    if task != "classification" and model is None:
        return task
    return f"{model} on {one['data']}" if "data" in one and model else str(model or one.get("data", task))


def _size(one: Mapping[str, Any]) -> Iterator[str]:
    if "m" in one:
        yield f"{one['m']} workers"
    if "batch" in one:
        yield "whole shards" if one["batch"] is None else f"batch {one['batch']}"
    if one.get("total_steps"):
        yield counted(one["total_steps"], "step")
    elif "epochs" in one:
        steps = f" of {one['steps']} steps" if one.get("steps") else ""
        yield counted(one["epochs"], "epoch") + steps
    if "lr" in one:
        yield f"learning rate {one['lr']:g}"


def names(table: Table) -> set[str]:
    """What labels may be given to: settings and names of axes."""
    return {str(name) for each in table.axes for name in (each.name, *each.settings)}


def named(table: Table, given: Sequence[str]) -> dict[str, str]:
    """The table's labels and the given ones, NAME=TEXT for settings and axes.

    Raises:
        UserError: for text of another form, or a name that the table does not have.
    """
    found = dict(table.labels)
    for each in given:
        name, equals, text = each.partition("=")
        if not (equals and text.strip() and text.isprintable()):
            raise UserError(f'--labels {each!r} is not of the form NAME=TEXT, such as my_rule="My rule"')
        if name not in names(table):
            raise unknown("name of this table in --labels", name, names(table))
        found[name] = text.strip()
    return found


def check_title(given: str) -> None:
    """Raises UserError for a title that is not one line of text."""
    if not (given.strip() and given.isprintable()):
        raise UserError(f"--title {given!r} is not one line of text")
