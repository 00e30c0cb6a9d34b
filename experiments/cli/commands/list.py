"""`byzsim list`: all members with their sources. It imports JAX only for plugins."""

from typing import Any

from byzsim.experiments.cli import listing
from byzsim.experiments.errors import UserError


def main(args: list[str]) -> None:
    """Print all members of the registries, and those of plugins."""
    if args and args[0] != "--plugins":
        raise UserError(f"byzsim list takes only --plugins MODULE ..., got {' '.join(args)}")
    for kind, members in [*listing.everything().items(), *_of_plugins(args[1:])]:
        print(kind)
        for name, summary, source in members:
            print(f"  {name:<27}{summary.rstrip('.')}  [{source}]")


def _of_plugins(modules: list[str]) -> list[tuple[str, list[listing.Member]]]:
    if not modules:
        return []
    from byzsim.experiments import plugins  # imports JAX

    found = plugins.load(modules)
    return [("from plugins", [listing.Member(name, _summary(each), each.source) for name, each in found.items()])]


def _summary(member: Any) -> str:
    """Of a member, or the title of a table."""
    return member.summary if hasattr(member, "summary") else member.title
