"""The report of a run: one HTML page that holds its pictures and asks for nothing from outside."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ..errors import ImageError
from ..vision.decode import decode_image, read_image
from .measures import Measured, Mistake, wilson
from .photos import Collection
from .result import Retrained

__all__ = ["write_page"]

#: More classes than this are shown as the pairs that are confused most, not as a matrix.
_MATRIX = 40
_MOST_MISTAKES, _MOST_PAIRS, _MOST_LISTED = 24, 40, 100
_THUMBNAIL = 240
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_page(path: Path, result: Retrained, found: Collection, measured: Measured) -> None:
    """Writes the page: accuracy, confusion, learning curve, worst mistakes, classes, what was left out."""
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    title = f"{shown(result.path.name)}: {len(result.classes)} classes"
    body = [
        f"<h1>{title}</h1>",
        f'<p class="soft">The trunk of {shown(result.weights)} up to {shown(result.bottleneck)}, with a new last layer for the '
        f"photographs in {shown(os.path.basename(os.path.abspath(found.root)))}</p>",
        _boxes(result),
        _confusion(result) if measured.total else "",
        _mistakes(result, measured) if measured.total else "",
        _curves(result),
        _classes(result),
        _left_out(result),
    ]
    text = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, body))
        + "\n</body>\n</html>\n"
    )
    path.write_text(text, encoding="utf-8")


def shown(text: object) -> str:
    """Text of a file's name or label for a page: what is no UTF-8 or cannot be printed becomes a replacement."""
    clean = str(text).encode("utf-8", "replace").decode()
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in clean))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _boxes(result: Retrained) -> str:
    counts = result.counts
    low, high = result.interval
    accuracy = "unknown" if result.accuracy is None else _percent(result.accuracy)
    known = (
        f"{result.right} of {result.total} photographs that were kept for testing; between {_percent(low)} and {_percent(high)} with a "
        "confidence of 95 %"
        if result.total
        else "no photographs were kept for testing"
    )
    low_count, high_count = min(counts["all"]), max(counts["all"])
    each = f"{low_count:,}" if low_count == high_count else f"from {low_count:,} to {high_count:,}"
    used = ", ".join(f"{sum(counts[part])} for {part}" for part in ("training", "validation", "testing"))
    return (
        f'<div class="boxes"><div class="box"><div class="soft">accuracy</div><div class="big">{accuracy}</div><p class="soft">{known}</p></div>'
        f'<div class="box"><div class="soft">photographs</div><div class="big">{sum(counts["all"]):,}</div><p class="soft">{used}</p></div>'
        f'<div class="box"><div class="soft">classes</div><div class="big">{len(result.classes):,}</div>'
        f'<p class="soft">{each} photographs each</p></div></div>'
    )


def _confusion(result: Retrained) -> str:
    head = "<h2>What is taken for what</h2>"
    matrix = result.confusion
    if len(result.classes) > _MATRIX:
        pairs = [(int(matrix[i, j]), i, j) for i, j in zip(*matrix.nonzero(), strict=True) if i != j]
        pairs.sort(key=lambda p: (-p[0], p[1], p[2]))
        rows = "".join(
            f'<tr><td class="name">{shown(result.classes[i])}</td><td class="name">{shown(result.classes[j])}</td><td>{n}</td></tr>'
            for n, i, j in pairs[:_MOST_PAIRS]
        )
        return (
            f'{head}<p class="soft">The pairs that are confused most, of {len(pairs)}.</p><div class="scroll"><table><tr>'
            f'<th class="name">class</th><th class="name">answer</th><th>times</th></tr>{rows}</table></div>'
        )
    columns = "".join(f'<th class="turned"><span>{shown(name)}</span></th>' for name in result.classes)
    rows = ""
    for i, name in enumerate(result.classes):
        total = max(int(matrix[i].sum()), 1)
        cells = "".join(_cell(int(n), int(n) / total, i == j) for j, n in enumerate(matrix[i]))
        rows += f'<tr><th class="name">{shown(name)}</th>{cells}</tr>'
    return (
        f'{head}<p class="soft">Photographs for testing: a row for each class, a column for each answer.</p>'
        f'<div class="scroll"><table class="confusion"><tr><th></th>{columns}</tr>{rows}</table></div>'
    )


def _cell(count: int, share: float, right: bool) -> str:
    if not count:
        return "<td></td>"
    colour = "good" if right else "bad"
    return f'<td style="background: rgba(var(--{colour}), {0.15 + 0.55 * share:.2f})">{count}</td>'


def _mistakes(result: Retrained, measured: Measured) -> str:
    if not measured.mistakes:
        return f"<h2>Mistakes</h2><p>None of {measured.total} photographs for testing.</p>"
    cards = "".join(_mistake(result, m) for m in measured.mistakes[:_MOST_MISTAKES])
    more = len(measured.mistakes) - _MOST_MISTAKES
    rest = f'<p class="soft">and {more} more</p>' if more > 0 else ""
    return f'<h2>Worst mistakes</h2><p class="soft">The surest of {len(measured.mistakes)} wrong answers first.</p><div class="mistakes">{cards}</div>{rest}'


def _mistake(result: Retrained, mistake: Mistake) -> str:
    data = _thumbnail(mistake.path)
    label, answer = shown(result.classes[mistake.label]), shown(result.classes[mistake.answer])
    image = (
        f'<img alt="a photograph of {label}" src="data:image/jpeg;base64,{data}">'
        if data
        else '<div class="none">no picture</div>'
    )
    return (
        f"<figure>{image}<figcaption><b>{label}</b>, taken for <b>{answer}</b><br>{_percent(mistake.probability)} against "
        f'{_percent(mistake.right)}<br><span class="soft">{shown(os.path.basename(mistake.path))}</span></figcaption></figure>'
    )


def _thumbnail(path: str) -> str:
    """A small JPEG of a photograph in base64; '' if it cannot be read any more."""
    from PIL import Image

    try:
        image = Image.fromarray(decode_image(read_image(path), name=path))
    except ImageError:
        return ""
    side = min(image.size)
    image = image.resize(
        (_THUMBNAIL, _THUMBNAIL), box=(
            (image.width - side) // 2, (image.height - side) // 2, (image.width + side) // 2, (image.height + side) // 2,
        ),
    )  # fmt: skip
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()


def _curves(result: Retrained) -> str:
    head = [r for r in result.history.rows if r["penalty"]]
    tuned = [r for r in result.history.rows if not r["penalty"]]
    kept = max((i for i, r in enumerate(head) if r["penalty"] == result.penalty), default=len(head) - 1)
    text = (
        _curve(head, kept, "Learning curve", "iterations", "The L2 penalty gets weaker from left to right. The dashed line is what was kept: a penalty of "
        f"{result.penalty:.2g}.") if len(head) > 1 else ""
    )  # fmt: skip
    if len(tuned) > 1:
        best = min(range(len(tuned)), key=lambda i: tuned[i].get("val_loss", -i))
        text += _curve(tuned, best, "Fine-tuning", "epochs", "The dashed line is the best one.")
    return text


def _curve(rows: list[dict[str, float]], chosen: int, title: str, unit: str, words: str) -> str:
    losses = {"training": [r["loss"] for r in rows], "validation": [r["val_loss"] for r in rows if "val_loss" in r]}
    width, height, left, bottom, top = 640, 260, 70, 30, 14
    logs = [math.log10(max(v, 1e-6)) for series in losses.values() for v in series]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    high = high if high > low else low + 1

    def x(i: int) -> float:
        return left + (width - left - 12) * i / (len(rows) - 1)

    def y(log: float) -> float:
        return top + (height - top - bottom) * (high - log) / (high - low)

    grid = "".join(
        f'<line class="grid" x1="{left}" x2="{width}" y1="{y(e):.1f}" y2="{y(e):.1f}"/><text x="{left - 6}" y="{y(e) + 4:.1f}" '
        f'text-anchor="end">{10.0**e:g}</text>'
        for e in range(low, high + 1)
    )
    curves = "".join(
        f'<path class="curve {name}" d="{_path([(x(i), y(math.log10(max(v, 1e-6)))) for i, v in enumerate(values)])}"/>'
        for name, values in losses.items()
        if values
    )
    mark = f'<line class="chosen" x1="{x(chosen):.1f}" x2="{x(chosen):.1f}" y1="{top}" y2="{height - bottom}"/>'
    labels = f'<text x="{left}" y="{height - 8}">1</text><text x="{width - 12}" y="{height - 8}" text-anchor="end">{len(rows)} {unit}</text>'
    key = '<span class="key-training">training</span>'
    if losses["validation"]:
        key += ', <span class="key-validation">validation</span>'
    return (
        f'<h2>{title}</h2><p class="soft">Loss ({key}) over the {unit}. {words}</p>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="loss over {unit}">{grid}{mark}{curves}{labels}</svg>'
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _classes(result: Retrained) -> str:
    counts, most = result.counts, max(result.counts["all"], default=1) or 1
    rows = []
    for i, name in enumerate(result.classes):
        tested, right = counts["testing"][i], int(result.confusion[i, i])
        low, high = wilson(right, tested)
        share = f"{_percent(right / tested)} ({100 * low:.0f} to {100 * high:.0f})" if tested else "not tested"
        rows.append(
            f'<tr><td class="name">{shown(name)}</td><td>{counts["all"][i]}</td><td style="min-width: 6rem"><div class="bar" '
            f'style="width: {100 * counts["all"][i] / most:.0f}%"></div></td><td>{counts["training"][i]}</td><td>{counts["validation"][i]}</td>'
            f"<td>{tested}</td><td>{share}</td></tr>"
        )
    return (
        '<h2>Classes</h2><div class="scroll"><table><tr><th class="name">class</th><th colspan="2">photographs</th><th>training</th>'
        f"<th>validation</th><th>testing</th><th>right (95 % interval)</th></tr>{''.join(rows)}</table></div>"
    )


def _left_out(result: Retrained) -> str:
    lines = [*result.notes[:_MOST_LISTED], *(f"cannot be read: {why}" for _, why in result.unreadable[:_MOST_LISTED])]
    more = len(result.notes) + len(result.unreadable) - len(lines)
    if more:
        lines.append(f"and {more:,} more, in {result.path.stem}.retrain.json")
    if not lines:
        return ""
    return f"<h2>Worth knowing</h2><ul>{''.join(f'<li>{shown(line)}</li>' for line in lines)}</ul>"
