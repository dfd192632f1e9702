"""Charts as SVG made here: no script draws them, and a table beside each says the same in numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 320, 150
"""Of the drawing's own units; a sheet of style makes it as wide as its place."""

LEFT, RIGHT, TOP, BOTTOM = 34, 6, 10, 22
_ROOM_X, _ROOM_Y = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
_LABELS = 5
"""At most so many along the bottom."""


def bars(title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]]) -> Markup:
    """One bar for each label, of the series stacked. The classes `part-0`, `part-1` … colour them.

    >>> str(bars("a <b>", ["Mon"], {"reads": [2.0]})).count("<rect")
    1
    """
    sums = [sum(column) for column in zip(*series.values(), strict=True)] if series else []
    top = _ceiling(max(sums, default=0.0))
    step = _ROOM_X / max(1, len(labels))
    drawn = []
    for column in range(len(labels)):
        below = 0.0
        for part, values in enumerate(series.values()):
            if values[column] > 0:
                high = values[column] / top * _ROOM_Y
                y = TOP + _ROOM_Y - (below + values[column]) / top * _ROOM_Y
                x = LEFT + column * step + step * 0.1
                drawn.append(
                    f'<rect class="part-{part}" x="{x:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}"'
                    f' height="{max(high, 0.5):.1f}"/>'
                )
                below += values[column]
    places = [LEFT + (column + 0.5) * step for column in range(len(labels))]
    return _framed(title, drawn, top, list(zip(places, labels, strict=True)))


def steps(
    title: str, points: Sequence[tuple[float, float]], labels: tuple[str, str], limit: float | None = None
) -> Markup:
    """A line that stays at each value until the next point. labels: of the first x and the last.

    limit: drawn as a dashed line across.

    >>> "M34.0,128.0 H314.0 V10.0" in str(steps("", [(0, 0), (1, 5)], ("then", "now")))
    True
    """
    top = _ceiling(max([*(y for _, y in points), limit or 0.0], default=0.0))
    xs = [x for x, _ in points]
    first, span = min(xs, default=0.0), (max(xs, default=0.0) - min(xs, default=0.0)) or 1.0
    path = ""
    for x, y in points:
        across, up = LEFT + (x - first) / span * _ROOM_X, TOP + _ROOM_Y - y / top * _ROOM_Y
        path += f" H{across:.1f} V{up:.1f}" if path else f"M{across:.1f},{up:.1f}"
    drawn = [f'<path class="curve" d="{path}"/>'] if path else []
    if limit is not None:
        up = TOP + _ROOM_Y - limit / top * _ROOM_Y
        drawn.append(f'<path class="limit" d="M{LEFT},{up:.1f} H{WIDTH - RIGHT}"/>')
    return _framed(title, drawn, top, [(float(LEFT), labels[0]), (float(WIDTH - RIGHT), labels[1])])


def _framed(title: str, drawn: Sequence[str], top: float, along: Sequence[tuple[float, str]]) -> Markup:
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<path class="axis" d="M{LEFT},{TOP} V{HEIGHT - BOTTOM} H{WIDTH - RIGHT}"/>',
    ]
    for share in (0.0, 0.5, 1.0):
        y = TOP + _ROOM_Y * (1 - share)
        parts.append(f'<text class="up" x="{LEFT - 4}" y="{y + 4:.1f}">{top * share:g}</text>')
    parts += drawn
    every = math.ceil(len(along) / _LABELS) if along else 1
    for number, (x, label) in enumerate(along):
        if number % every == 0:
            anchor = "start" if x <= LEFT else "end" if x >= WIDTH - RIGHT else "middle"
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{escape(label)}</text>')
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - every text in it was escaped above


def _ceiling(value: float) -> float:
    """The next round number that is no less: 1, 2 or 5 times a power of ten.

    >>> [_ceiling(value) for value in (0, 3, 17, 60, 0.4, math.inf)]
    [1.0, 5.0, 20.0, 100.0, 0.5, 1.0]
    """
    if not 0 < value < math.inf:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((times * power for times in (1, 2, 5, 10) if times * power >= value), value)
