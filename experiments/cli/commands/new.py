"""`byzsim new`: a file to start from, which runs as it is."""

import dataclasses
import keyword
from pathlib import Path

import tyro
from byzsim.experiments import arguments, files
from byzsim.experiments.cli.templates import TEMPLATES
from byzsim.experiments.errors import UserError, unknown
from byzsim.experiments.plugins import TABLES_BUILT_IN, TAKEN


@dataclasses.dataclass(frozen=True, kw_only=True)
class New:
    """Write a file with a table or a member of your own."""

    words: tyro.conf.Positional[tuple[str, ...]]
    """KIND NAME, such as: rule my_rule"""


def main(args: list[str]) -> None:
    """Write NAME.py in the current folder.

    Raises:
        UserError: for another kind or name, or if there is such a file.
    """
    words = arguments.parse_args(New, args, prog="byzsim new").words
    kinds = ", ".join(TEMPLATES)
    if len(words) != 2:
        raise UserError(f"byzsim new KIND NAME, where KIND is one of {kinds}; got {' '.join(words) or 'nothing'}")
    kind, name = words[0], words[1].removesuffix(".py")
    if kind not in TEMPLATES:
        raise unknown("kind of file", kind, TEMPLATES)
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UserError(f"{name!r} is no name for a file of Python; expected letters, digits and _")
    if name in TAKEN | TABLES_BUILT_IN:
        raise UserError(f"{name!r} is a name of byzsim's own; choose another one")
    path = Path(f"{name}.py")
    if path.exists():
        raise UserError(f"{path} is there already, and is left as it is; choose another name")
    text = TEMPLATES[kind].replace("NAME", name)
    files.write_output(path, text)
    print(f"written: {path}. Next: byzsim run {path}")
