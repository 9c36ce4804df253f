"""Self-contained HTML pages, shared by the demo and by ``brainsim fit``."""

from ._html import (
    ARROW as ARROW,
    DASH as DASH,
    MINUS as MINUS,
    SPACE as SPACE,
    TIMES as TIMES,
    cards as cards,
    code as code,
    document as document,
    escape as escape,
    fill as fill,
    number as number,
    picture as picture,
    seconds as seconds,
    signed as signed,
    table as table,
)
