"""How the plates of `gallery.py` are drawn: from values to matplotlib figures, 7 inches (700 px) wide.

Colours are those of Okabe and Ito (2008, jfly.uni-koeln.de/color), which the colour-blind tell apart; the
maps are `PuOr` and `cividis`. No window system and no global state: figures are made without pyplot.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from akazuba.errors import InputError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FALLS, LOOKS = colormaps["PuOr_r"].resampled(15), colormaps["cividis"].resampled(12)
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#666666"
TICKS = [mark * 10.0**power for power in range(-3, 4) for mark in (1, 2, 5)]
DOTS_PER_INCH = 130
WIDTH = 7.0
MOST_BYTES = 60 * 1024


@dataclass(frozen=True)
class Bin:
    """Cases with about the same stated probability. stated, right: means; low, high: 95 % interval of
    `right`.
    """

    stated: float
    right: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Panel:
    """One reliability diagram. ece: value, low and high (95 %), n."""

    name: str
    bins: Sequence[Bin]
    ece: Mapping[str, float]


@dataclass(frozen=True)
class Site:
    """Pictures of one source. stated: mean probability of the leading label of those read.

    right: share of those read whose leading label is right, with low and high (95 %) and n.
    shown: how many were handed in, None where none could be refused. own: the head learned from this source.
    """

    name: str
    stated: float
    right: Mapping[str, float]
    shown: int | None
    own: bool


@dataclass(frozen=True)
class Maps:
    """One picture (H, W) or (H, W, 3) with square maps of what speaks for its leading label.

    falls: name -> fall of the label's log-odds; looked: name -> share of the attention.
    """

    name: str
    pixels: npt.NDArray[np.uint8]
    falls: Mapping[str, Floats]
    looked: Mapping[str, Floats]


@dataclass(frozen=True)
class Ratio:
    """A finding and its likelihood ratio: above 1 for, below 1 against."""

    finding: str
    ratio: float


@dataclass(frozen=True)
class Waits:
    """Seconds that emergencies waited under one policy; within: share under the limit, low, high and n."""

    policy: str
    seconds: Floats
    within: Mapping[str, float]


def places(stated: Floats, equal: Literal["width", "count"], bins: int = 10) -> list[npt.NDArray[np.int64]]:
    """Indices of each bin that holds a case: of equal width (as `differential.py` cuts its calibration
    error) or of equal count (as `diagnosis.calibration` does).
    """
    if equal == "count":
        cut = np.array_split(np.argsort(stated, kind="stable"), bins)
    else:
        place = np.minimum((stated * bins).astype(int), bins - 1)
        cut = [np.flatnonzero(place == number) for number in range(bins)]
    return [part for part in cut if len(part)]


def reliability(panels: Sequence[Panel]) -> Figure:
    figure, axes = _row(len(panels), 3.9 if len(panels) < 3 else 3.1)
    lowest = min(min(b.stated, b.low) for panel in panels for b in panel.bins)
    ticks = np.arange(np.floor(4 * lowest) / 4, 1.01, 0.25)
    room = (ticks[0] - 0.03, 1.03)
    for axis, panel in zip(axes, panels, strict=True):
        axis.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, zorder=1)
        stated = np.array([b.stated for b in panel.bins])
        right = np.array([b.right for b in panel.bins])
        reach = [[b.right - b.low for b in panel.bins], [b.high - b.right for b in panel.bins]]
        count = np.array([b.n for b in panel.bins])
        axis.errorbar(stated, right, yerr=reach, fmt="none", ecolor=BLUE, elinewidth=1.2, zorder=2)
        area = 8 + 40 * count / count.max()
        axis.scatter(stated, right, s=area, color=BLUE, zorder=3, clip_on=False)
        axis.set(xlim=room, ylim=room, aspect="equal")
        axis.set_xticks(ticks, [f"{tick:.0%}" for tick in ticks])
        axis.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
        axis.set_xlabel("stated probability", fontsize=9)
        ece = panel.ece
        error = f"ECE {ece['value']:.3f} ({ece['low']:.3f}–{ece['high']:.3f})"
        axis.set_title(f"{panel.name}\nn = {count.sum():,}\n{error}", fontsize=9)
        axis.tick_params(labelsize=8.5)
    axes[0].set_ylabel("share that was right", fontsize=9)
    return figure


def sites(parts: Mapping[str, Sequence[Site]]) -> Figure:
    """One part above the other: for each site what was stated and what was right."""
    counts = [len(rows) for rows in parts.values()]
    figure = Figure(figsize=(WIDTH, 1.5 + 0.37 * sum(counts)), layout="constrained")
    axes = figure.subplots(len(parts), 1, sharex=True, squeeze=False, height_ratios=counts)[:, 0]
    for axis, (name, rows) in zip(axes, parts.items(), strict=True):
        for place, site in enumerate(rows):
            right = site.right
            reach = [[right["value"] - right["low"]], [right["high"] - right["value"]]]
            axis.plot([right["value"], site.stated], [place, place], color="#BBBBBB", linewidth=3, zorder=1)
            axis.errorbar(right["value"], place, xerr=reach, fmt="o", color=BLUE, capsize=3, zorder=3)
            axis.plot(
                site.stated,
                place,
                "D",
                markersize=8,
                markerfacecolor="none",
                markeredgecolor=VERMILION,
                mew=1.8,
                zorder=4,
            )
        axis.set_yticks(range(len(rows)), [_site_label(site) for site in rows])
        axis.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 1))
        axis.grid(axis="x", color="#DDDDDD")
        axis.set_axisbelow(True)
        axis.set_title(name, fontsize=10, loc="left")
        _plain(axis)
    axes[-1].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axes[0].plot([], [], "o", color=BLUE, label="right (95 % interval)")
    axes[0].plot(
        [],
        [],
        "D",
        markersize=8,
        markerfacecolor="none",
        markeredgecolor=VERMILION,
        mew=1.8,
        label="stated, on average",
    )
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _site_label(site: Site) -> str:
    read = f"n = {site.right['n']:,}"
    if site.shown is not None:
        read = f"{site.right['n']:,} of {site.shown:,} read"
    return f"{site.name}{' *' if site.own else ''}\n{read}"


def maps(rows: Sequence[Maps]) -> Figure:
    """One picture a row, its maps beside it, each on a scale of its own that stands below it."""
    names = [*rows[0].falls, *rows[0].looked]
    figure = Figure(figsize=(WIDTH, 0.5 + 1.9 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 1 + len(names), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        line[0].imshow(row.pixels, cmap="gray")
        line[0].set_ylabel(row.name, fontsize=9)
        for axis, name in zip(line[1:], names, strict=True):
            if name in row.falls:
                most = float(np.abs(row.falls[name]).max())
                axis.imshow(row.falls[name], cmap=FALLS, vmin=-most, vmax=most)
                axis.set_xlabel(f"−{most:.2f} to +{most:.2f}", fontsize=9)
            else:
                highest = float(row.looked[name].max())
                axis.imshow(row.looked[name], cmap=LOOKS, vmin=0, vmax=highest)
                axis.set_xlabel(f"0 to {highest:.0%}", fontsize=9)
    for axis, name in zip(axes[0], ("picture", *names), strict=True):
        axis.set_title(name, fontsize=9)
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    return figure


def ratios(title: str, found: Sequence[Ratio]) -> Figure:
    """Bars on a logarithmic scale, from 1 to the right what speaks for, to the left what speaks against."""
    rows = sorted(found, key=lambda row: -row.ratio)
    figure = Figure(figsize=(WIDTH, 1.2 + 0.34 * len(rows)), layout="constrained")
    axis = figure.subplots()
    logs = [float(np.log10(row.ratio)) for row in rows]
    colours = [BLUE if log >= 0 else VERMILION for log in logs]
    axis.barh(range(len(rows)), logs, color=colours, height=0.66)
    for place, (row, log) in enumerate(zip(rows, logs, strict=True)):
        side = "left" if log >= 0 else "right"
        axis.annotate(
            f"×{row.ratio:.2g}", (log, place), xytext=(4 if log >= 0 else -4, 0),
            textcoords="offset points", ha=side, va="center", fontsize=9,
        )  # fmt: skip
    axis.axvline(0, color="black", linewidth=1)
    axis.set_yticks(range(len(rows)), [row.finding for row in rows])
    low, high = min(-0.5, min(logs) - 0.25), max(0.5, max(logs) + 0.25)
    axis.set(ylim=(len(rows) - 0.5, -0.5), xlim=(low, high))
    ticks = [tick for tick in TICKS if low <= np.log10(tick) <= high]
    axis.set_xticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
    axis.set_xlabel("← against     likelihood ratio (logarithmic)     for →", fontsize=9)
    axis.set_title(title, fontsize=10, loc="left")
    _plain(axis)
    return figure


def waits(days: Mapping[str, Sequence[Waits]], limit_s: float) -> Figure:
    """For each kind of day, the share of emergencies seen within so many minutes."""
    figure, axes = _row(len(days), 3.6)
    styles = ((BLUE, "-"), (VERMILION, "--"))
    for axis, (name, policies) in zip(axes, days.items(), strict=True):
        for policy, (colour, style) in zip(policies, styles, strict=True):
            minutes = np.sort(policy.seconds) / 60
            share = np.arange(1, len(minutes) + 1) / len(minutes)
            within = policy.within
            label = f"{policy.policy}: {within['value']:.1%}\n({within['low']:.1%}–{within['high']:.1%})"
            x, y = np.concatenate([[0], minutes]), np.concatenate([[0], share])
            axis.step(x, y, where="post", color=colour, linestyle=style, linewidth=2, label=label)
        axis.axvline(limit_s / 60, color=GREY, linewidth=1)
        axis.set(xlim=(0, 30), ylim=(0, 1.02))
        axis.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
        axis.set_xticks([0, 5, 10, 20, 30])
        axis.set_xlabel("minutes from arrival", fontsize=9)
        axis.set_title(f"{name}\nn = {len(policies[0].seconds):,} emergencies", fontsize=9)
        axis.legend(
            title=f"within {limit_s / 60:g} minutes", fontsize=8.5, title_fontsize=8.5, loc="lower right"
        )
        _plain(axis)
    axes[0].set_ylabel("share acknowledged", fontsize=9)
    return figure


def _row(count: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)


def save(figure: Figure, path: Path) -> int:
    """Writes a PNG with a palette and without a date, so that equal figures are equal files; returns bytes.

    Raises InputError when it is larger than a page of documentation should load.
    """
    plain, small = io.BytesIO(), io.BytesIO()
    figure.savefig(plain, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    with Image.open(plain) as image:
        # A palette that covers the colours: by their counts alone, the rare ones of a scale would turn grey.
        few = image.convert("RGB").quantize(160, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(small, "PNG", optimize=True)
    if len(small.getvalue()) > MOST_BYTES:
        raise InputError(str(path), f"at most {MOST_BYTES:,} bytes", f"{len(small.getvalue()):,}")
    path.write_bytes(small.getvalue())
    return len(small.getvalue())
