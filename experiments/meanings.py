"""What the fields of a class are, read from its source."""

import ast
import inspect
import itertools
import textwrap


def meanings(kind: type) -> dict[str, str]:
    """The strings below the annotated names of a class."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    return {
        name.target.id: " ".join(text.value.value.split())
        for name, text in itertools.pairwise(tree.body)
        if isinstance(name, ast.AnnAssign) and isinstance(name.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
