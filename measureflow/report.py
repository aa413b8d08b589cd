"""Self-contained HTML pages: text, tables and pictures in one file that needs no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import final

from measureflow.files import replace_text

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #555; }
figure { margin: 1rem 0; } img { max-width: 100%; } figcaption { color: #555; font-size: .9rem; }
"""


@final
class Page:
    """An HTML page that is put together from top to bottom.

    Parameters
    ----------
    title : str

    Examples
    --------
    >>> page = Page("A flow")
    >>> page.paragraph("Energy falls.")
    >>> "Energy falls." in page.text()
    True
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.parts = [f"<h1>{html.escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """Add a heading."""
        self.parts.append(f"<h2>{html.escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph of plain text."""
        self.parts.append(f"<p>{html.escape(text)}</p>")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table; the first column is aligned to the left."""
        self.parts.append(html_table(header, [[html.escape(cell) for cell in row] for row in rows]))

    def picture(self, png: Path, caption: str) -> None:
        """Embed a PNG file, with a caption that also serves as its alternative text."""
        data = base64.b64encode(png.read_bytes()).decode()
        words = html.escape(caption)
        image = f'<img alt="{words}" src="data:image/png;base64,{data}">'
        self.parts.append(f"<figure>{image}<figcaption>{words}</figcaption></figure>")

    def text(self) -> str:
        """Return the page's source."""
        head = f'<meta charset="utf-8"><title>{html.escape(self.title)}</title><style>{STYLE}</style>'
        body = "\n".join(self.parts)
        return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'

    def write(self, path: Path) -> Path:
        """Write the page, replacing the file in one go."""
        replace_text(path, self.text())
        return path


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], text: Collection[int] = ()) -> str:
    """Return a table whose cells are HTML already; those of the columns in `text` get the class "text".

    Examples
    --------
    >>> html_table(["n"], [["<b>1</b>"]])
    '<table><thead><tr><th>n</th></tr></thead><tbody><tr><td><b>1</b></td></tr></tbody></table>'
    """
    kinds = [' class="text"' if k in text else "" for k in range(len(header))]

    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)) + "</tr>"

    head, body = line("th", [html.escape(cell) for cell in header]), "".join(line("td", row) for row in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as aligned plain text, the first column to the left."""
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])
