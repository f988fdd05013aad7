"""The report of a run: one HTML page with a picture and tables, which asks for nothing from outside."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from ..kernels.atomic_files import replacing
from .ranges import METHODS
from .result import Layer, Quantized, Value

__all__ = ["write_page"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 960, 300, 46, 12, 26
_MOST_LISTED = 100
_KEPT = {"": "integers", "asked": "float, as asked", "agreement": "float, for the agreement"}


def write_page(path: Path, found: Quantized) -> None:
    """Writes the page: sizes, agreement, a bar for each layer, the layers, the ranges. OSError where nothing can be written."""
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    title = f"{_shown(found.path.name)}: 8-bit integers"
    body = [
        f"<h1>{title}</h1>", f'<p class="soft">Made from {_shown(found.source)}</p>', _boxes(found), _picture(found.layers),
        _layers(found.layers), _values(found.values), _notes(found),
    ]  # fmt: skip
    text = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n" + "\n".join(filter(None, body)) + "\n</body>\n</html>\n"
    )  # fmt: skip
    with replacing(path, "w", encoding="utf-8", shared=True) as file:
        file.write(text)


def _shown(text: object) -> str:
    """Text of a file's or layer's name for a page: what is no UTF-8 or cannot be printed becomes a replacement."""
    clean = str(text).encode("utf-8", "replace").decode()
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in clean))


def _db(value: float) -> str:
    return "\N{INFINITY}" if value == math.inf else "NaN" if value != value or value == -math.inf else f"{value:.1f}"


def _box(head: str, big: str, words: str) -> str:
    return (
        f'<div class="box"><div class="soft">{head}</div><div class="big">{big}</div><p class="soft">{words}</p></div>'
    )


def _boxes(found: Quantized) -> str:
    integers = len(found.layers) - len(found.kept)
    right = (
        f"; {found.right} of {found.named} have the label that their folder names, {found.right_float} with floats" if found.named else ""
    )  # fmt: skip
    return '<div class="boxes">' + "".join([
        _box("agreement", f"{100 * found.agreement:.1f}\N{NO-BREAK SPACE}%", f"{found.same} of {found.held} held-out photographs have the same first label{right}"),
        _box("size", f"{found.size / 1e6:.1f}\N{NO-BREAK SPACE}MB", f"the float model has {found.source_size / 1e6:.1f} MB"),
        _box("layers of integers", f"{integers} of {len(found.layers)}", f"asked: an agreement of {found.asked:g}"),
        _box("signal to noise", f"{_db(found.loss)}\N{NO-BREAK SPACE}dB", "at the scores of the held-out photographs, all layers together"),
    ]) + "</div>"  # fmt: skip


def _picture(layers: tuple[Layer, ...]) -> str:
    """A bar for each layer in the order of the network: the lower, the more the layer costs."""
    known = [x.loss for x in layers if math.isfinite(x.loss)]
    top = max(20.0, 10 * math.ceil(max(known, default=20.0) / 10))
    bottom = min(0.0, 10 * math.floor(min(known, default=0.0) / 10))
    wide = (_WIDTH - _LEFT - 8) / max(len(layers), 1)

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (top - min(max(value, bottom), top)) / (top - bottom)

    parts = []
    for mark in range(int(bottom), int(top) + 1, 10):
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y(mark):.1f}" y2="{y(mark):.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark}</text>'
        )
    for i, layer in enumerate(layers):
        value = layer.loss if not math.isnan(layer.loss) else bottom
        high = max(y(bottom) - y(value), 1.0)
        tip = f"{_shown(layer.name)} ({layer.op}): {_db(layer.loss)} dB, {_KEPT[layer.kept]}"
        parts.append(
            f'<rect class="{"float" if layer.kept else "whole"}" x="{_LEFT + 4 + i * wide:.1f}" width="{max(wide - 1.5, 1):.1f}" '
            f'y="{y(bottom) - high:.1f}" height="{high:.1f}"><title>{tip}</title></rect>'
        )
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT - 6}">layers in the order of the network; dB</text>')
    return (
        '<h2>What each layer costs</h2><p class="soft">Signal to quantisation noise at the scores in dB, if this layer alone has '
        'integers: the lower the bar, the more it costs. <span class="key-whole">Integers</span>, <span class="key-float">float</span>.</p>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="signal to noise of each layer">{"".join(parts)}</svg>'
    )


def _layers(layers: tuple[Layer, ...]) -> str:
    rows = "".join(
        f'<tr><td class="name">{_shown(x.name)}</td><td>{x.op}</td><td>{x.weights:,}</td><td>{_db(x.loss)}</td><td>{_KEPT[x.kept]}</td></tr>'
        for x in sorted(layers, key=lambda x: x.loss)
    )
    return (
        '<h2>Layers, those that cost most first</h2><div class="scroll"><table><tr><th class="name">layer</th><th>op</th><th>weights</th>'
        f"<th>dB</th><th>computed in</th></tr>{rows}</table></div>"
    )


def _values(values: tuple[Value, ...]) -> str:
    rows = []
    for value in values:
        more = f" and {len(value.names) - 1} more" if len(value.names) > 1 else ""
        low, high = -value.zero * value.step, (255 - value.zero) * value.step
        losses = "".join(
            f'<td{" class=on" if m == value.method else ""}>{_db(value.losses[m]) if m in value.losses else ""}</td>' for m in METHODS
        )  # fmt: skip
        rows.append(
            f'<tr><td class="name">{_shown(value.names[0])}{more}</td><td>{low:.4g} to {high:.4g}</td><td>{value.step:.4g}</td>'
            f"<td>{value.zero}</td>{losses}</tr>"
        )
    return (
        '<h2>Ranges</h2><p class="soft">What the integers 0 to 255 of a value stand for, and the dB at the scores that each way to choose it '
        'costs; bold: taken.</p><div class="scroll"><table><tr><th class="name">value</th><th>range</th><th>step</th><th>zero point</th>'
        + "".join(f"<th>{m}</th>" for m in METHODS)
        + f"</tr>{''.join(rows)}</table></div>"
    )


def _notes(found: Quantized) -> str:
    lines = [*found.notes, *(f"cannot be read: {why}" for _, why in found.unreadable[:_MOST_LISTED])]
    lines.insert(0, f"{found.calibrated} photographs measured the ranges; {found.held} others compared the answers")
    return f"<h2>Worth knowing</h2><ul>{''.join(f'<li>{_shown(line)}</li>' for line in lines)}</ul>"
