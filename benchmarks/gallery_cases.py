"""What the plates of `gallery.py` show, measured on the case sets of the other benchmarks. Nothing is fitted.

Each function gives plain values for `gallery_plots.py`. Those that need the research data take its folder.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import engine_refusals
import numpy as np
from engine import RECORD, Folds
from figures import wilson
from gallery_plots import Bin, Bools, Floats, Maps, Panel, Ratio, Site, Waits, places

from akazuba.diagnosis import calibration
from akazuba.diagnosis.engine import Engine, open_engine
from akazuba.intake.images import load_picture
from akazuba.ranking import open_ranker
from akazuba.records import ImageRef, Picture
from akazuba.settings import from_environ
from akazuba.training import measure
from akazuba.waiting import simulate

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "src" / "akazuba" / "examples"

CRAFTMD_EVERY = 3
"""As `differential.py --quick`."""

LEAST = 10
"""A site of which fewer pictures were read is left out."""

MOST_OF_A_SITE = 200
"""Dermatoscopic pictures asked of one site, in an order that has nothing to do with their content."""

DERMATOSCOPY = {
    ("nv", "1"): "melanocytic-naevus",
    ("mel", "0"): "melanoma",
    ("bcc", "2"): "basal-cell-carcinoma",
    ("akiec", "3"): "actinic-keratosis",
    ("akiec", "7"): "squamous-cell-carcinoma",
    ("bkl", "4"): "seborrhoeic-keratosis",
}
"""(label, code of FLamby) of HAM10000 -> our label; `bkl` holds other benign keratoses too. Dermatofibroma
and vascular lesions have no label of ours and are not asked.
"""

DAYS, SEED = 200, 20261128
"""The defaults of `akazuba queue simulate`."""


def share(right: Bools, groups: Sequence[str]) -> dict[str, float]:
    """A share, and on each side the wider of Wilson's interval and the bootstrap over groups (95 %).

    The bootstrap knows that pictures of one patient are alike, but says nothing when all are right.
    """
    counted = wilson(int(right.sum()), len(right))
    drawn = measure.bootstrap(lambda i: float(right[i].mean()), groups, 300).as_dict()
    return counted | {
        "low": min(counted["low"], drawn["low"]),
        "high": max(counted["high"], drawn["high"]),
    }


def bins(stated: Floats, right: Bools, groups: Sequence[str], equal: Literal["width", "count"]) -> list[Bin]:
    found = []
    for part in places(stated, equal):
        held = share(right[part], [groups[i] for i in part])
        found.append(
            Bin(float(stated[part].mean()), float(right[part].mean()), held["low"], held["high"], len(part))
        )
    return found


# --- calibration --------------------------------------------------------------------------------


def differential_panels(data: Path) -> list[Panel]:
    """Cases on which no constant of the ranking was fitted: see `differential.py`."""
    import differential
    import vignettes
    from differential import half

    folder = data / "text_dx_cases"

    def panel(name: str, stated: Floats, right: Bools, groups: list[str]) -> Panel:
        error = differential.expected_calibration_error
        ece = measure.bootstrap(lambda i: error(stated[i], right[i]), groups, 300).as_dict()
        return Panel(name, bins(stated, right, groups, "width"), ece)

    lines = (folder / "phenopackets.ndjson").read_text(encoding="utf-8").splitlines()
    cases = [case for case in map(json.loads, lines) if half(case["group"]) == 1]
    ranker = open_ranker(from_environ())
    place = {id_: row for row, id_ in enumerate(ranker.store.disease_ids)}
    ranks, first, _ = differential.ranked_rare(ranker, cases, place)
    rare = panel("rare diseases, coded findings", first, ranks == 1, differential.groups(cases))

    box = differential.text_box()
    ids = np.array([condition.id for condition in box.columns.table.conditions])
    told = [case for case in vignettes.avey(folder) if half(case.id) == 1]
    told += [*vignettes.osce(folder), *vignettes.craftmd(folder)[::CRAFTMD_EVERY]]
    firsts, rights = [], []
    for case in told:
        posterior = vignettes.ranked(box, case).posterior[:-1]
        firsts.append(posterior.max())
        rights.append(ids[posterior.argmax()] in case.gold)
    names = [case.id for case in told]
    return [rare, panel("vignettes in free text", np.array(firsts), np.array(rights), names)]


def kept(head: str, mode: str) -> tuple[Folds, Floats, Bools]:
    """The student's folds of a head, their probabilities (N, L), and whether the leading label is right."""
    folds = Folds(json.loads(RECORD.read_text(encoding="utf-8"))["heads"][head], "student")
    probability = folds.cross_fitted(mode)[0]
    return folds, probability, probability.argmax(1) == folds.labels


def engine_panels() -> list[Panel]:
    """What each fold said of patients that it never saw, calibrated on the other folds: see `engine.py`."""
    error, found = calibration.expected_calibration_error, []
    for name, head, mode in (
        ("chest film, child", "chest-xray.child", "image"),
        ("chest film, adult", "chest-xray.adult", "image"),
        ("skin photo with note", "skin-photo", "fused"),
    ):
        folds, probability, right = kept(head, mode)
        cut = bins(probability.max(1), right, folds.groups, "count")

        def gap(i: measure.Ints, said: Floats = probability, truth: measure.Ints = folds.labels) -> float:
            return error(said[i], truth[i])

        ece = measure.bootstrap(gap, folds.groups, 300)
        found.append(Panel(name, cut, ece.as_dict()))
    return found


# --- sites --------------------------------------------------------------------------------------


def chest_sites(data: Path) -> list[Site]:
    """The sources that the heads learned from (held-out folds), then the adult head on other hospitals."""
    engine = open_engine(threads=1)
    found = [
        own_site("Kermany 2018, children", "chest-xray.child"),
        own_site("NIH, adults", "chest-xray.adult"),
    ]
    folder = data / "cxr_multisite_notes"
    rows = [row for row in engine_refusals.rows_of(folder) if row["label"] != "unlabelled"]
    elsewhere = sorted({row["site"] for row in rows} - {"nih"})
    for name in elsewhere:
        of_site = [row for row in rows if row["site"] == name]
        truth = ["no-finding" if row["label"] == "no_finding" else "pneumonia" for row in of_site]
        found += seen_at(engine, name, folder, of_site, truth, "chest-xray", engine_refusals.ADULT)
    return found


def skin_sites(data: Path) -> list[Site]:
    """Photos of the source that the head learned from, then dermatoscopic pictures, which it was not made
    for; all without a note.
    """
    engine = open_engine(threads=1)
    folder = data / "ham10000_4site"
    rows = [
        row for row in engine_refusals.rows_of(folder) if (row["label"], row["flamby_target"]) in DERMATOSCOPY
    ]
    random.Random(0).shuffle(rows)
    found = [own_site("PAD-UFES-20, photos", "skin-photo")]
    for name in sorted({row["site"] for row in rows}):
        of_site = [row for row in rows if row["site"] == name][:MOST_OF_A_SITE]
        truth = [DERMATOSCOPY[row["label"], row["flamby_target"]] for row in of_site]
        found += seen_at(engine, f"{name}, dermatoscopy", folder, of_site, truth, "skin-photo", None)
    return found


def own_site(name: str, head: str) -> Site:
    folds, probability, right = kept(head, "image")
    return Site(name, float(probability.max(1).mean()), share(right, folds.groups), None, own=True)


def seen_at(
    engine: Engine,
    name: str,
    folder: Path,
    rows: Sequence[dict[str, str]],
    truth: Sequence[str],
    kind: str,
    age: float | None,
) -> list[Site]:
    """The one site, or nothing when the engine read fewer than `LEAST` of its pictures.

    Of two labels, all that are not healthy count as the other one: see `chest_sites.py`.
    """
    stated, right, groups = [], [], []
    for row, label in zip(rows, truth, strict=True):
        picture = Picture("p", kind, engine_refusals.opened(folder / row["file"], kind))
        image = engine.read(picture, "", True, age, explain=False).image
        if image.labels:
            leading, probability = next(iter(image.labels.items()))
            stated.append(probability)
            right.append(leading == label)
            groups.append(row["patient"])
    if len(stated) < LEAST:
        print(f"left out: {name}: expected {LEAST} pictures read, found {len(stated)} of {len(rows)}")
        return []
    return [Site(name, float(np.mean(stated)), share(np.array(right), groups), len(rows), own=False)]


# --- one case -----------------------------------------------------------------------------------


def example(name: str) -> dict[str, Any]:
    """A built-in example case; patients are invented and pictures drawn."""
    found: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    return found


def example_maps(names: Sequence[str]) -> list[Maps]:
    """The built-in skin pictures with the maps that `heatmaps.py` compares."""
    import heatmaps

    engine, found = open_engine(threads=1), []
    looks = heatmaps.Attention("skin-photo")
    for name in names:
        case = example(name)
        picture = load_picture(ImageRef(case["images"][0]["path"], "skin-photo"), EXAMPLES)
        note, age = case["note"], float(case["patient"]["age_years"])
        image = engine.read(picture, note, True, age).image
        label, probability = next(iter(image.labels.items()))
        found.append(
            Maps(
                f"{name}\n{label.replace('-', ' ')}\n{probability:.0%}",
                picture.pixels,
                {
                    "region blanked\n(what the box shows)": np.array(image.heatmap_grid),
                    "cells left out\n(behind the encoder)": heatmaps.left_out(
                        engine, picture, note, age, label
                    ),
                },
                {"attention of\nthe note's words": looks(engine, picture, note)},
            )
        )
    return found


def leading_evidence(name: str) -> tuple[str, float, str, list[Ratio]]:
    """Leading condition, its probability, the ratios' source and the ratios, as `akazuba assess` has them."""
    command = [
        sys.executable,
        "-m",
        "akazuba",
        "assess",
        str(EXAMPLES / f"{name}.json"),
        "--json",
        "--no-llm",
    ]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    first = json.loads(done.stdout)["differential"][0]
    rows = [*first["evidence"], *first["evidence_against"]]
    found = [
        Ratio(
            row["finding"] if row["present"] else f"no {row['finding'][0].lower()}{row['finding'][1:]}",
            row["likelihood_ratio"],
        )
        for row in rows
    ]
    return first["name"], first["probability"], ", ".join(sorted({row["source"] for row in rows})), found


# --- the queue ----------------------------------------------------------------------------------


def simulated_waits(post: simulate.Post, days: int = DAYS, seed: int = SEED) -> list[Waits]:
    """SIMULATED: the days of `simulate.simulate`, with the waits of each emergency instead of a summary."""
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(days):
        people = simulate.arrivals(post, random.Random(f"{seed} {number}"))
        ours += simulate.with_queue(post, people, seed + number).waits_s
        theirs += simulate.first_come(post, people, seed + number).waits_s
    return [
        Waits(
            policy,
            np.array(seconds),
            wilson(sum(s < simulate.ANSWERED_WITHIN_S for s in seconds), len(seconds)),
        )
        for policy, seconds in (("urgency and alarms", ours), ("first come, first served", theirs))
    ]
