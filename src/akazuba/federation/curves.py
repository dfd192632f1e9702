"""Learning curves of a SIMULATED programme as a picture, SVG or PNG by the file's ending."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from akazuba.errors import ArtefactError, InputError, why_not_opened
from akazuba.federation.simulate import Course

ENDINGS = (".svg", ".png")
SALT = "akazuba federation"
"""Makes the ids in an SVG the same each time."""


def draw(path: Path, title: str, courses: Sequence[Course], pooled: float) -> None:
    """Accuracy over virtual days, a line for each method, and the pooled model's as a dashed one.

    Raises InputError for another ending or without matplotlib (the [plots] extra), ArtefactError when the
    file cannot be written.
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError("curves", " or ".join(ENDINGS), path.suffix or "no ending")
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as problem:
        raise InputError("curves", "matplotlib (the [plots] extra)", "none") from problem
    with mpl.rc_context({"svg.hashsalt": SALT}):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        for course in courses:
            days = [point.at_h / 24 for point in course.points]
            axes.plot(days, [point.accuracy for point in course.points], label=course.method, linewidth=1.4)
        axes.axhline(pooled, linestyle="--", color="grey", linewidth=1, label="pooled")
        axes.set(title=f"SIMULATED: {title}", xlabel="virtual days", ylabel="accuracy")
        axes.legend(loc="lower right")
        dated = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
        try:
            figure.savefig(path, metadata=dated)
        except OSError as problem:
            raise ArtefactError(str(path), "a file that can be written", why_not_opened(problem)) from problem
