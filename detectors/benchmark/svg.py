"""Figures as inline SVG: no files, no fonts, no links, and colours that follow the page."""

import io
import re
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure

from detectors.benchmark.plots import INK

_NOT_INLINE: Final = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", re.DOTALL)
_SIZE: Final = re.compile(r'(<svg[^>]*?) height="[^"]*"', re.DOTALL)
_WIDTH: Final = re.compile(r'(<svg[^>]*?) width="[^"]*"', re.DOTALL)
# Text stays text: it can be searched and read aloud, and the file is a third of the size. The salt
# makes ids of clip paths equal in every run and different in every figure of a page.
_STYLE: Final[dict[Any, Any]] = {"svg.fonttype": "none", "font.family": "sans-serif"}


def inline(figure: Figure, *, name: str, title: str) -> str:
    """The figure as an `<svg>` element with an accessible title, without XML prologue."""
    out = io.StringIO()
    figure.patch.set_alpha(0.0)
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Title": title, "Date": None})
    text = _NOT_INLINE.sub("", out.getvalue()).strip()
    text = _WIDTH.sub(r"\1", _SIZE.sub(r"\1", text, count=1), count=1)
    text = text.replace("<svg ", '<svg role="img" ', 1).replace('id="', f'id="{name}-')
    text = text.replace('xlink:href="#', f'xlink:href="#{name}-').replace("url(#", f"url(#{name}-")
    return text.replace(INK, "currentColor")
