"""Text from files and users, made fit to be shown: in a terminal, on an axis, on a page."""

import difflib
from collections.abc import Iterable


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
    if text.isprintable():
        return text
    # control characters, marks such as those of right-to-left text, lone surrogates, odd spaces, ends of lines
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def label(text: object, most: int = 60) -> str:
    """The same for a matplotlib label: short, and a ``$`` is a dollar, not the beginning of a formula."""
    return printable(text, most).replace("$", r"\$")


def choices(name: object, available: Iterable[object]) -> str:
    """What there is instead of `name`, and which of it was probably meant.

    ```python
    >>> from brainsim._text import choices
    >>> choices("tauw", ["tau_w", "v_reset"]), choices("x", [])
    ("did you mean 'tau_w'? available: tau_w, v_reset", 'available: none')

    ```
    """
    names = [printable(x, 60) for x in available]
    bare = {x.partition(" (")[0]: x for x in names}  # a parameter is shown with its unit
    near = difflib.get_close_matches(str(name)[:60], bare, n=1) or [x for x in bare if x.lower() == str(name).lower()]
    return (f"did you mean {near[0]!r}? " if near else "") + f"available: {', '.join(names) or 'none'}"
