"""What the changed settings of a table mean for its report: title, published numbers, labels."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from byzsim.experiments.errors import UserError, counted, unknown
from byzsim.experiments.plan import Config, Table, changed, label


def published(table: Table, config: Config, *, quick: bool) -> pd.DataFrame | None:
    """The published numbers of the cells, if every setting is the table's; otherwise None.

    More seeds, a part of the table and additional rules or attacks keep the numbers; a quick run has none.
    """
    paper = None if quick or changed(table.config, config) else table.paper()
    if paper is None:
        return None
    near = np.isclose(paper["alpha"].to_numpy()[:, None], config.alphas).any(axis=1)
    inside = paper[near & paper["rule"].isin(config.rules) & paper["attack"].isin(config.attacks)]
    return inside if len(inside) else None


def title(table: Table, config: Config, *, quick: bool, labels: Mapping[str, str]) -> str:
    """The table's title if its settings are unchanged or it still has published numbers; otherwise the settings."""
    own = table.config
    if not quick and dataclasses.replace(config, seeds=own.seeds) == own:
        return table.title
    if published(table, config, quick=quick) is None:
        return described(config)
    further = [label(name, labels) for name in (*config.rules, *config.attacks) if name not in own.rules + own.attacks]
    return table.title + (f", with {', '.join(further)}" if further else "")


SELDOM_CHANGED = ("declared_f", "optimizer", "momentum", "momentum_beta", "partition")


def described(config: Config) -> str:
    """A title made from the settings; those that are seldom changed occur only if they are changed."""
    epochs = counted(config.epochs, "epoch")
    steps = f" of {config.steps} steps" if config.steps else ""
    usual = {field.name: field.default for field in dataclasses.fields(Config) if field.name in SELDOM_CHANGED}
    changes = [f"{name} {getattr(config, name)}" for name, value in usual.items() if getattr(config, name) != value]
    size = f"{config.m} workers, batch {config.batch}, {epochs}{steps}, learning rate {config.lr:g}"
    return ", ".join([f"{config.model} on {config.data}", size, *changes, *config.options])


def named(table: Table, config: Config, given: Sequence[str]) -> dict[str, str]:
    """The table's labels and the given ones, NAME=TEXT for rules and attacks.

    Raises:
        UserError: for text of another form, or a name that the table does not have.
    """
    members = {*config.rules, *config.attacks}
    found = dict(table.labels)
    for each in given:
        name, equals, text = each.partition("=")
        if not (equals and text.strip() and text.isprintable()):
            raise UserError(f'--labels {each!r} is not of the form NAME=TEXT, such as my_rule="My rule"')
        if name not in members:
            raise unknown("rule or attack of this table in --labels", name, members)
        found[name] = text.strip()
    return found


def check_title(given: str) -> None:
    """Raises UserError for a title that is not one line of text."""
    if not (given.strip() and given.isprintable()):
        raise UserError(f"--title {given!r} is not one line of text")
