"""The checker of annotations in tests: jaxtyping calls it for each function of `byzsim` that is traced or called."""

import inspect

from beartype import beartype


def arrays(function):
    """beartype, but not for functions of keywords only: these are factories, whose options a user writes by hand. They
    are checked by `byzsim.options`, whose messages the tests read."""
    kinds = {parameter.kind for parameter in inspect.signature(function).parameters.values()}
    return function if kinds <= {inspect.Parameter.KEYWORD_ONLY} else beartype(function)
