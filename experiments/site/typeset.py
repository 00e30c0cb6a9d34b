"""Formulas as HTML: the plain formulas of docstrings with real indices and symbols, and LaTeX as MathML."""

import html
import re

from latex2mathml.converter import convert

SYMBOLS = {"<=>": "⇔", "<=": "≤", ">=": "≥", "!=": "≠", "<-": "←", "||": "‖", "...": "…", "-": "−"}
GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "eta": "η",
    "theta": "θ",
    "kappa": "κ",
    "lambda": "λ",
    "lamb": "λ",
    "mu": "μ",
    "nu": "ν",
    "xi": "ξ",
    "pi": "π",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "Sigma": "Σ",
    "Phi": "Φ",
}
BRACKETS = {"(": ")", "{": "}"}
TOKEN = re.compile(
    r"(?P<index>[_^])"
    r"|`(?P<code>[^`]+)`"
    r"|<(?P<product>\w[^<>;]*[\w\])])>"  # <a, b>, an inner product
    r"|(?P<sum>sum(?=_| over))"
    r"|(?P<word>[A-Za-z]+\d*(?![A-Za-z]))"
    r"|(?P<symbol><=>|<=|>=|!=|<-|\|\||\.\.\.|-)"
    r"|(?P<times> \* )"
    r"|(?P<other>.)",
    re.DOTALL,
)
INDEX = re.compile(r"\(\w+\)\w*|-?\w+\*?")  # (k)c, as in g_(k)c; letters and digits


def formula(text: str) -> str:
    """A plain formula, as docstrings have it, as HTML: `s_i <= ||g_i||_2^2` gets real indices and symbols.

    Line breaks and spaces stay, and so does every word: what is not known as a symbol is printed as it is.

    >>> formula("s_i <= ||g_i||_2^2")
    '<i>s</i><sub>i</sub> ≤ ‖<i>g</i><sub>i</sub>‖<sub>2</sub><sup>2</sup>'
    """
    out, at = [], 0
    while at < len(text):
        found = TOKEN.match(text, at)
        assert found is not None  # every character is a token
        at = found.end()
        if found["index"]:
            tag = "sub" if found["index"] == "_" else "sup"
            inner, at = _index(text, at)
            out.append(f"<{tag}>{inner}</{tag}>")
        else:
            out.append(_token(found))
    return "".join(out)


def _token(found: re.Match) -> str:
    if found["code"]:
        return f"<code>{html.escape(found['code'])}</code>"
    if found["product"]:
        return f"⟨{formula(found['product'])}⟩"
    if found["word"]:
        return _word(found["word"])
    if found["symbol"]:
        return SYMBOLS[found["symbol"]]
    return "∑" if found["sum"] else " · " if found["times"] else html.escape(found[0])


def _word(word: str) -> str:
    """A Greek letter, a variable in italics (one letter, perhaps with digits), or an ordinary word."""
    if word in GREEK:
        return GREEK[word]
    return f"<i>{word}</i>" if re.fullmatch(r"[A-Za-z]\d*", word) else word


def _index(text: str, at: int) -> tuple[str, int]:
    """The index that begins here, as HTML, and where it ends."""
    if text[at : at + 1] == "{":
        end = _closing(text, at)
        return formula(text[at + 1 : end]), end + 1
    found = INDEX.match(text, at)
    if found is None:
        return "", at
    inner, end = found[0], found.end()
    if inner in ("argmin", "argmax") and text[end : end + 1] in BRACKETS:
        close = _closing(text, end)
        return f"{inner} {formula(text[end : close + 1])}", close + 1
    return GREEK.get(inner, html.escape(inner).replace("-", "−")), end


def _closing(text: str, at: int) -> int:
    """Where the bracket that opens here is closed; the end of the text if it is not."""
    opened, closed, depth = text[at], BRACKETS[text[at]], 0
    for place in range(at, len(text)):
        depth += (text[place] == opened) - (text[place] == closed)
        if depth == 0:
            return place
    return len(text)


def block(text: str) -> str:
    """A formula of several lines as a block of a page."""
    lines = text.strip("\n").splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    shown = (re.sub("  +", _space, formula(line[margin:].rstrip())) for line in lines)
    return '<div class="formula">' + "".join(f"<div>{line}</div>" for line in shown) + "</div>"


def _space(found: re.Match) -> str:
    return "&emsp;" * min((len(found[0]) + 1) // 2, 4)


LATEX = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def mathml(page: str) -> str:
    """The page with its LaTeX as MathML, which browsers typeset without a script."""

    def one(found: re.Match) -> str:
        display = "block" if found[2] == "[" else "inline"
        made = convert(html.unescape(found[3]).replace("\n", " "), display=display)
        return f'<div class="displayed">{made}</div>' if display == "block" else made

    return LATEX.sub(one, page)
