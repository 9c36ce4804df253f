"""Pieces of a self-contained page: text that is escaped, figures inlined in light and dark, one style sheet."""

import base64
import html
import importlib.resources
import io
import string
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from .._text import printable
from ..plotting import DARK, LIGHT, Theme, theme

DASH, MINUS, TIMES, ARROW, SPACE = "\u2013", "\u2212", "\u00d7", "\u2192", "\u00a0"  # a space that does not break


def escape(text: object) -> str:
    """Text as HTML shows it, and characters that would not be seen as escapes."""
    return html.escape("\n".join(map(printable, str(text).split("\n"))), quote=True)


def png(draw: Callable[[Theme], Figure], colours: Theme) -> bytes:
    """A figure as the bytes of a PNG file."""
    with theme(colours) as c:
        file = io.BytesIO()
        draw(c).savefig(file, format="png", metadata={"Software": "brainsim"})
    return file.getvalue()


def picture(draw: Callable[[Theme], Figure], path: Path, *, alt: str, caption: str, half: bool = False) -> str:
    """Draws a figure, writes it to `path` in light colours, and returns it for the page in light and dark."""
    light, dark = png(draw, LIGHT), png(draw, DARK)
    path.write_bytes(light)
    light64, dark64 = (base64.b64encode(data).decode("ascii") for data in (light, dark))
    return (
        f'<figure id="{escape(path.stem)}"{" class=half" if half else ""}><div class="scroll"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{dark64}">'
        f'<img alt="{escape(alt)}" src="data:image/png;base64,{light64}">'
        f"</picture></div><figcaption>{caption}</figcaption></figure>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """A table of cells that are HTML already; the columns in `numbers` are aligned right."""
    kinds = [' class="num"' if k in numbers else "" for k in range(len(head))]

    def line(tag: str, cells: Sequence[str]) -> str:
        inside = (f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr>{''.join(inside)}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table><thead>{line("th", head)}</thead>\n<tbody>{body}</tbody></table></div>\n'


def code(text: str) -> str:
    """A block of code."""
    return f"<pre><code>{escape(text.strip())}</code></pre>\n"


def cards(items: Iterable[tuple[str, str]]) -> str:
    """Big numbers, each with a sentence."""
    inside = "".join(f'<div class="card"><b>{escape(n)}</b><span>{escape(text)}</span></div>' for n, text in items)
    return f'<div class="cards">{inside}</div>\n'


def fill(path: str, /, **values: object) -> str:
    """The template at `path` in this package with every ``$value`` filled in; a missing one is an error."""
    text = importlib.resources.files("brainsim").joinpath(*path.split("/")).read_text(encoding="utf-8")
    return string.Template(text).substitute(values)


def document(title: str, header: str, body: str, footer: str) -> str:
    """The whole page. It loads nothing: the policy in its head forbids it to."""
    style = fill("_pages/style.css")
    return fill("_pages/frame.html", title=escape(title), style=style, header=header, body=body, footer=footer)


def number(x: float, digits: int = 3) -> str:
    """A number with so many significant digits, without an exponent where people would not write one."""
    if x != x:
        return DASH
    text = f"{x:.{digits}g}"
    return f"{x:,.0f}" if "e" in text and 1 <= abs(x) < 1e7 else text.replace("-", MINUS)


def signed(x: float) -> str:
    """A difference, with its sign."""
    return f"{x:+.2f}".replace("-", MINUS)


def seconds(x: float) -> str:
    """A duration as people say it, in one piece."""
    if x < 0.0995:
        text = f"{1e3 * x:.0f} ms"
    elif x < 9.95:
        text = f"{x:.2g} s"
    else:
        text = f"{x:.0f} s" if x < 120 else f"{x // 60:.0f} min {x % 60:.0f} s"
    return text.replace(" ", SPACE)
