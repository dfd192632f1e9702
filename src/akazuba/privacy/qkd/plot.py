"""The rate over distance as characters and as SVG; both say SIMULATED."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from akazuba.privacy.qkd.tuning import Rates

COLUMNS, ROWS = 61, 16

_WIDTH, _HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 56, 60


@dataclass(frozen=True)
class Scale:
    """km from 0 to `longest` across, powers of ten from `low` to `high` upwards."""

    longest: float
    low: int
    high: int

    def across(self, km: float) -> float:
        return km / self.longest

    def up(self, rate: float) -> float:
        return (math.log10(rate) - self.low) / (self.high - self.low)


def scale_of(rates: Sequence[Rates]) -> Scale:
    seen = [each for rate in rates for each in (rate.asymptotic, rate.finite) if each > 0] or [1e-6]
    high = math.ceil(math.log10(max(seen)))
    low = max(math.floor(math.log10(min(seen))), high - 8)
    return Scale(max(*(rate.km for rate in rates), 1.0), min(low, high - 1), high)


def text_plot(rates: Sequence[Rates], here: tuple[float, float] | None = None) -> str:
    """here: km and secret bits per pulse of the session, marked X when they lie in the frame."""
    scale = scale_of(rates)
    grid = [[" "] * COLUMNS for _ in range(ROWS)]
    marks = [(rate.km, rate.asymptotic, ".") for rate in rates] + [
        (rate.km, rate.finite, "o") for rate in rates
    ]
    for km, rate, mark in [*marks, (*here, "X")] if here else marks:
        column, row = _cell(scale, km, rate)
        if row is not None and column < COLUMNS:
            grid[ROWS - 1 - row][column] = mark
    labels = {
        ROWS - 1 - round((power - scale.low) / (scale.high - scale.low) * (ROWS - 1)): f"1e{power:+03d}"
        for power in range(scale.low, scale.high + 1)
    }
    lines = ["SIMULATED: secret bits per pulse over km (. endless pulses, o one session, X this one)"]
    lines += [f"{labels.get(row, ''):>6} |{''.join(cells).rstrip()}" for row, cells in enumerate(grid)]
    ticks = [round(part * scale.longest / 4) for part in range(5)]
    axis = [" "] * (COLUMNS + 8)
    for part, tick in enumerate(ticks):
        at = 8 + part * (COLUMNS - 1) // 4 - len(str(tick)) // 2
        axis[at : at + len(str(tick))] = str(tick)
    return "\n".join([*lines, " " * 7 + "+" + "-" * COLUMNS, "".join(axis).rstrip() + " km"])


def _cell(scale: Scale, km: float, rate: float) -> tuple[int, int | None]:
    column = round(scale.across(km) * (COLUMNS - 1))
    row = round(scale.up(rate) * (ROWS - 1)) if rate > 0 else -1
    return column, row if 0 <= row < ROWS else None


def svg_plot(rates: Sequence[Rates], title: str, here: tuple[float, float] | None = None) -> str:
    """title: plain words, escaped here. here: as for `text_plot`."""
    scale = scale_of(rates)
    words = title.replace("&", "&amp;").replace("<", "&lt;")
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
            ' font-family="sans-serif" font-size="13">'
        ),
        f"<title>SIMULATED: {words}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        (
            f'<text x="{_LEFT}" y="26" font-size="16"><tspan font-weight="bold" fill="#b00020">'
            f"SIMULATED</tspan> {words}</text>"
        ),
        *_frame(scale),
        _curve(scale, [(rate.km, rate.asymptotic) for rate in rates], "#777", ' stroke-dasharray="6 4"'),
        _curve(scale, [(rate.km, rate.finite) for rate in rates], "#00579c", ""),
        *_legend(),
    ]
    if here is not None and here[1] > 0 and 0 <= scale.up(here[1]) <= 1:
        x, y = _point(scale, *here)
        parts.append(f'<circle cx="{x}" cy="{y}" r="5" fill="#b00020"><title>this session</title></circle>')
    return "\n".join([*parts, "</svg>\n"])


def _point(scale: Scale, km: float, rate: float) -> tuple[float, float]:
    x = _LEFT + scale.across(km) * (_WIDTH - _LEFT - _RIGHT)
    y = _HEIGHT - _BOTTOM - scale.up(rate) * (_HEIGHT - _TOP - _BOTTOM)
    return round(x, 1), round(y, 1)


def _frame(scale: Scale) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for power in range(scale.low, scale.high + 1):
        _, y = _point(scale, 0, 10.0**power)
        parts += [
            f'<line x1="{_LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="#e2e2e2"/>',
            (
                f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">10<tspan dy="-5" font-size="10">'
                f"{power}</tspan></text>"
            ),
        ]
    for part in range(5):
        km = part * scale.longest / 4
        x, _ = _point(scale, km, 10.0**scale.low)
        parts += [
            f'<line x1="{x}" y1="{bottom}" x2="{x}" y2="{bottom + 5}" stroke="#333"/>',
            f'<text x="{x}" y="{bottom + 20}" text-anchor="middle">{km:.0f}</text>',
        ]
    across, up = (_LEFT + right) / 2, (_TOP + bottom) / 2
    return [
        *parts,
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#333"/>',
        f'<text x="{across}" y="{bottom + 42}" text-anchor="middle">fibre (km)</text>',
        f'<text transform="translate(22 {up}) rotate(-90)" text-anchor="middle">secret bits per pulse</text>',
    ]


def _curve(scale: Scale, points: Sequence[tuple[float, float]], colour: str, dashes: str) -> str:
    shown = [_point(scale, km, rate) for km, rate in points if rate > 0 and scale.up(rate) >= 0]
    line = " ".join(f"{x},{y}" for x, y in shown)
    return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'


def _legend() -> list[str]:
    x, y = _WIDTH - _RIGHT - 230, _TOP + 16
    rows = (("#777", ' stroke-dasharray="6 4"', "endless pulses"), ("#00579c", "", "one session, finite key"))
    return [
        f'<line x1="{x}" y1="{y + 20 * row}" x2="{x + 34}" y2="{y + 20 * row}" stroke="{colour}"'
        f' stroke-width="2"{dashes}/><text x="{x + 42}" y="{y + 20 * row + 4}">{words}</text>'
        for row, (colour, dashes, words) in enumerate(rows)
    ]
