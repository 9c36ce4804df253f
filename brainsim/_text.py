"""Text from files and users, made fit to be shown: in a terminal, on an axis, on a page."""

import unicodedata

# Control characters, formatting such as right-to-left marks, lone surrogates, unassigned, ends of lines and paragraphs.
_HIDDEN = frozenset(["Cc", "Cf", "Cs", "Cn", "Zl", "Zp"])


def printable(text: object, most: int | None = None) -> str:
    """`text` in one line that does what it looks like: what is not to be seen is written as an escape, ``\\x1b``.

    **Arguments**

    - `most`: characters, at least 8; what is longer keeps its beginning and its end. Default: any number.

    ```python
    >>> from brainsim._text import printable
    >>> print(printable("current\\x1b[2J"), printable("a\\nb"), printable("stimulus" * 100, most=12))
    current\\x1b[2J a\\nb stimul…mulus

    ```
    """
    text = str(text)
    if most is not None and len(text) > most:  # first: a name may be as long as the file
        text = f"{text[: most // 2]}…{text[len(text) - (most - most // 2 - 1) :]}"
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def _escaped(c: str) -> str:
    return c.encode("unicode_escape").decode("ascii")


def label(text: object, most: int = 60) -> str:
    """The same for a matplotlib label: short, and a ``$`` is a dollar, not the beginning of a formula."""
    return printable(text, most).replace("$", r"\$")
