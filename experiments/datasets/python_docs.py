"""Text about Python's own syntax, inside the standard library: no network."""

import numpy as np
from byzsim.experiments.datasets._base import Dataset, Spec, dataset

LENGTH = 64  # characters of an example that are predicted
TEST_SHARE = 10  # every so many pieces, one is a test example
PRINTABLE = [chr(code) for code in (10, *range(32, 127))]


def load(**places: object) -> Dataset:
    """Pieces of 65 characters of the help topics of this Python; characters are numbered, others than ASCII left out.

    Versions of Python differ in their text, so the digest of the data differs between them too.

    Args:
        places: `cache_dir`, `data_dir` and `log`, which every data set takes; none of them is needed.
    """
    del places
    from pydoc_data.topics import topics  # half a megabyte

    number = {character: i for i, character in enumerate(PRINTABLE)}
    text = "\n".join(topics[name] for name in sorted(topics))
    codes = np.array([number[character] for character in text if character in number], np.uint8)
    pieces = codes[: len(codes) // (LENGTH + 1) * (LENGTH + 1)].reshape(-1, LENGTH + 1)
    is_test = np.arange(len(pieces)) % TEST_SHARE == 0
    train, test = pieces[~is_test], pieces[is_test]
    return dataset((train, None, test, None), n_classes=None, source="the help topics of Python")


SPEC = Spec(
    load=load,
    summary="pieces of 65 characters of the help topics of Python, for char_lm; needs no network",
    source="The Python Language Reference, as pydoc has it",
)
