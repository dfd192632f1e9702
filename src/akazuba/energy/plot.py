"""Curves as SVG, without any library. What is simulated says so in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 900, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 64, 44
COLOURS = ("#00579c", "#b8860b", "#8b1a1a", "#2e7d32", "#555555")


@dataclass(frozen=True)
class Curve:
    name: str
    values: Sequence[float]


def plan_title(by: str, *, simulated: bool) -> str:
    """Over a drawing of the two days ahead: it says what is simulated and that nothing was metered."""
    return f"{'SIMULATED sensors, ' if simulated else ''}loads not metered: the next 48 hours by {by}"


def svg(
    title: str,
    unit: str,
    curves: Sequence[Curve],
    ticks: Sequence[tuple[float, str]],
    level: tuple[str, float] | None,
) -> str:
    """ticks: share of the width and label. level: name and height of a dashed line. Texts are escaped
    here.
    """
    highest = max(
        [1e-9, *(max(curve.values, default=0.0) for curve in curves), *([level[1]] if level else [])]
    )
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
            ' font-family="sans-serif" font-size="12">'
        ),
        f"<title>{_escaped(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{_escaped(title)}</text>',
    ]
    for step in range(5):
        y = _y(step / 4)
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#e2e2e2"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{highest * step / 4:.4g}</text>')
    for share, label in ticks:
        x = _x(share)
        parts.append(
            f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_escaped(label)}</text>'
        )
    parts.append(f'<text x="{LEFT - 6}" y="{TOP - 8}" text-anchor="end">{_escaped(unit)}</text>')
    if level is not None:
        y, end = _y(level[1] / highest), WIDTH - RIGHT
        parts.append(
            f'<line x1="{LEFT}" y1="{y}" x2="{end}" y2="{y}" stroke="#8b1a1a" stroke-dasharray="6 4"/>'
            f'<text x="{end}" y="{y - 4}" text-anchor="end" fill="#8b1a1a">{_escaped(level[0])}</text>'
        )
    for place, curve in enumerate(curves):
        colour = COLOURS[place % len(COLOURS)]
        count = max(1, len(curve.values) - 1)
        points = " ".join(f"{_x(i / count)},{_y(v / highest)}" for i, v in enumerate(curve.values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        x = LEFT + 200 * place
        parts.append(
            f'<line x1="{x}" y1="40" x2="{x + 24}" y2="40" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{x + 30}" y="44">{_escaped(curve.name)}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
