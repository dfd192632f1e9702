"""A gallery of plots from the case sets of the other benchmarks, by one command.

    python benchmarks/gallery.py [--out docs/gallery] [--data ../shared/data] [--only NAME …]

Draws every plate as a PNG of at most 60 KB and, when none had to be skipped, `index.md` with the captions.
Nothing is fitted or chosen by a result. Needs the extra `plots`; the maps need `train` (onnx) too. A plate
whose case set is not there is skipped with a message, and then the index stays as it was.
"""

from __future__ import annotations

import argparse
import importlib.util
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gallery_cases as cases
import gallery_plots as plots
import numpy as np
from matplotlib.figure import Figure

from akazuba.waiting.simulate import ANSWERED_WITHIN_S, Post

OUT = cases.ROOT / "docs" / "gallery"
DATA = cases.ROOT.parent / "shared" / "data"
HEAD = """# Gallery

Drawn from the case sets of the benchmarks by one command, which wrote this page too:

    .venv/bin/python benchmarks/gallery.py

It looks for the research data in `../shared/data` and skips what is absent. No clinician has reviewed what is
shown, and nothing here says how the box does at another clinic.
"""
SHARE_INTERVAL = "95 %: on each side the wider of Wilson's and the bootstrap over {}"
ECE_INTERVAL = "; of the ECE the bootstrap alone, which leans upward"


@dataclass(frozen=True)
class Plate:
    """A figure and its caption. shows: what is seen, and what is not to be read into it."""

    name: str
    title: str
    shows: str
    case_set: str
    n: str
    interval: str
    source: str
    figure: Figure


class Missing(Exception):  # noqa: N818 - it is no fault
    """What a plate needs and what is not there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", choices=list(PLATES), help="some plates; leaves index.md alone")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name in arguments.only or PLATES:
        try:
            plate = PLATES[name](arguments.data)
        except Missing as missing:
            print(f"skipped: {name}: {missing}", flush=True)
            continue
        path = arguments.out / f"{name}.png"
        size = plots.save(plate.figure, path)
        print(
            f"{path} ({size / 1024:.0f} KB): {plate.case_set}; n = {plate.n}; source: {plate.source}",
            flush=True,
        )
        drawn.append(plate)
    if len(drawn) == len(PLATES):
        (arguments.out / "index.md").write_text(index(drawn), encoding="utf-8")
    else:
        print(f"{arguments.out / 'index.md'}: left as it is ({len(drawn)} of {len(PLATES)} plates drawn)")


def needed(data: Path, *folders: str) -> None:
    for folder in folders:
        if not (data / folder).is_dir():
            raise Missing(f"{data / folder}: expected the research data, found no such folder")


def differential(data: Path) -> Plate:
    needed(data, "text_dx_cases")
    panels = cases.differential_panels(data)
    return Plate(
        "calibration-differential",
        "Calibration of the differential",
        "How often the first condition is right, by the probability that was stated for it; on the dashed "
        "line the two are equal. A larger dot holds more cases. Ten bins of equal width. A vignette whose "
        "diagnosis the knowledge does not have counts as wrong.",
        "development cases of `text_dx_cases` on which no constant was fitted: published phenopackets (the "
        "half of the gene cohorts that was left out); Avey (other half), AgentClinic OSCE and every third of "
        "CRAFT-MD",
        counted(panels),
        SHARE_INTERVAL.format("gene cohorts (left) or cases (right)") + ECE_INTERVAL,
        "`benchmarks/differential.py`",
        plots.reliability(panels),
    )


def engine(_: Path) -> Plate:
    panels = cases.engine_panels()
    return Plate(
        "calibration-engine",
        "Calibration of the image engine",
        "The same for the leading label of the shipped size (student, 8 bit). Ten bins of equal count. What "
        "weighs picture against note was fitted on the other folds.",
        "five folds of patients whom the network had not seen: films of children (Kermany 2018), NIH films "
        "of adults, PAD-UFES-20 photos with notes; all from the sources that the heads learned from",
        counted(panels),
        SHARE_INTERVAL.format("patients") + " (normal films of children carry no patient id)" + ECE_INTERVAL,
        "`benchmarks/results/engine_folds.json`, `benchmarks/engine.py`",
        plots.reliability(panels),
    )


def sites(data: Path) -> Plate:
    needed(data, "cxr_multisite_notes", "ham10000_4site")
    chest, skin = cases.chest_sites(data), cases.skin_sites(data)
    found = {"Chest films: leading label": chest, "Skin pictures without a note: leading label": skin}
    return Plate(
        "reliability-sites",
        "Reliability by site",
        "What was stated on average and how often it was right; the grey bar between the two is over- or "
        "underconfidence. `*`: the head learned from this source, and folds that it did not see are shown. "
        "All others are new to it, as a stress test: the box refuses a picture that looks untypical, and "
        "what is right is counted among those that it read. Nearly all films of the other hospitals have a "
        "finding, so that always saying so would do as well. The skin head was not made for "
        f"dermatoscopy. A site with fewer than {cases.LEAST} pictures read is left out.",
        "the folds of the plate above; development films of `cxr_multisite_notes` (no finding against the "
        f"rest); development pictures of `ham10000_4site`, at most {cases.MOST_OF_A_SITE} a site, without "
        "the labels that the head does not have",
        f"own sources {own(chest)} films and {own(skin)} photos; of other sources {elsewhere(chest)} films "
        f"and {elsewhere(skin)} dermatoscopic pictures were read",
        SHARE_INTERVAL.format("patients (in dermatoscopy lesions)"),
        "`benchmarks/results/engine_folds.json`, `benchmarks/chest_sites.py`, `benchmarks/engine.py`",
        plots.sites(found),
    )


def own(rows: list[plots.Site]) -> str:
    return f"{sum(int(site.right['n']) for site in rows if site.own):,}"


def elsewhere(rows: list[plots.Site]) -> str:
    others = [site for site in rows if site.shown is not None]
    return f"{sum(int(s.right['n']) for s in others):,} of {sum(s.shown or 0 for s in others):,}"


def heatmaps(_: Path) -> Plate:
    if importlib.util.find_spec("onnx") is None:
        raise Missing("onnx: expected the extra [train], found no such package")
    rows = cases.example_maps(("skin-arm", "skin-face"))
    return Plate(
        "heatmaps",
        "Where a picture speaks for its label",
        "SYNTHETIC pictures, drawn for this project. Beside each, by how much the label's log-odds fall when "
        "a region is blanked and the picture is read again (the map that the box shows), when a region's "
        "cells are left out behind the encoder (cheaper), and how much the note's words look at a region. "
        "Orange speaks for the label, violet against it; every map has its own scale, which stands below "
        "it. `benchmarks/heatmaps.py` measures on real pictures, which may not be shown here, which map is "
        "the most faithful. Of `skin-arm` the box abstains, because most labels remain possible; the drawn "
        "chest films have no map, because it refuses them as untypical.",
        "built-in examples of `akazuba demo`",
        f"{len(rows)} pictures",
        "none: single pictures",
        "`src/akazuba/examples`, `benchmarks/heatmaps.py`",
        plots.maps(rows),
    )


def evidence(_: Path) -> Plate:
    name, probability, source, found = cases.leading_evidence("adult-cough")
    return Plate(
        "evidence",
        "What speaks for and against",
        "Likelihood ratios of one invented patient's findings for the condition that leads: ×5 means five "
        "times as common with the condition as in other patients. Findings that go together do not multiply "
        "in full.",
        "the built-in example `adult-cough`",
        f"1 case, {len(found)} findings",
        "none: the knowledge holds single values",
        f"knowledge `{source}`, whose figures no clinician has reviewed",
        plots.ratios(f"adult-cough (invented patient): {name}, {probability:.0%}", found),
    )


def waits(_: Path) -> Plate:
    ordinary, surge = cases.simulated_waits(Post()), cases.simulated_waits(Post(surges=1))
    median = float(np.median(ordinary[0].seconds))
    longest = [f"{policy.seconds.max() / 60:.0f}" for policy in surge]
    return Plate(
        "queue-waits",
        "How long emergencies wait",
        "SIMULATED days through the real queue and its alarms, against the same arrivals and staff served "
        "in the order of arrival. On a quiet day most find a free nurse at once and would be seen sooner "
        f"without triage and alarm, which take {median:.0f} s (median); urgency pays when many come "
        f"together. The axis ends at 30 minutes; the longest waits on days with a surge are {longest[0]} and "
        f"{longest[1]} minutes.",
        f"{cases.DAYS} simulated days of each kind, {Post().patients_a_day:g} arrivals a day and "
        f"{Post().nurses} nurses, all assumed",
        f"{len(ordinary[0].seconds):,} and {len(surge[0].seconds):,} emergencies",
        "Wilson, 95 %",
        f"`akazuba.waiting.simulate`, seed {cases.SEED}",
        plots.waits({"ordinary day": ordinary, "day with a surge of 8": surge}, ANSWERED_WITHIN_S),
    )


def counted(panels: list[plots.Panel]) -> str:
    return "; ".join(f"{panel.name} {sum(b.n for b in panel.bins):,}" for panel in panels)


def index(plates: list[Plate]) -> str:
    """The page of the gallery, in Markdown."""
    return "\n".join([HEAD, *map(section, plates)])


def section(plate: Plate) -> str:
    facts = {"Case set": plate.case_set, "n": plate.n, "Interval": plate.interval, "Source": plate.source}
    listed = "\n".join(
        textwrap.fill(f"- {name}: {text}.", 110, subsequent_indent="  ") for name, text in facts.items()
    )
    return f"""## {plate.title}

![{plate.title}]({plate.name}.png)

{textwrap.fill(plate.shows, 110)}

{listed}
- Again: `.venv/bin/python benchmarks/gallery.py --only {plate.name}`
"""


PLATES: dict[str, Callable[[Path], Plate]] = {
    "calibration-differential": differential,
    "calibration-engine": engine,
    "reliability-sites": sites,
    "heatmaps": heatmaps,
    "evidence": evidence,
    "queue-waits": waits,
}


if __name__ == "__main__":
    main()
