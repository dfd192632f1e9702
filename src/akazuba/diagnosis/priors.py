"""How probable each condition is before anything is known but who the patient is and where."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from akazuba.records import AGE_BANDS_YEARS, PRIOR_FACTORS, KnowledgeTable, Patient, Setting

OTHER_FLOOR = 0.05
"""Least prior of "none of these", however common the listed conditions are for an age (our choice)."""

HIV_BANDS = (0.01, 0.05)
"""Between the levels of HIV prevalence in adults."""

COUNTRIES = {
    "Africa": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR "
    "MU MW MZ NA NE NG RW SC SD SL SN SO SS ST SZ TD TG TN TZ UG ZA ZM ZW",
    "South Asia": "AF BD BT IN LK MV NP PK",
    "Latin America": "AR BO BR BZ CL CO CR CU DO EC GT GY HN HT JM MX NI PA PE PR PY SR SV TT UY VE",
}
"""ISO 3166-1 codes of the regions of `PRIOR_FACTORS`; every other country is elsewhere."""


def prior(table: KnowledgeTable, patient: Patient, setting: Setting) -> npt.NDArray[np.float64]:
    """(D + 1,) prior of each condition for this patient and place, last "none of these"; sums to 1.

    What is not known (age, sex, country, …) leaves the prior as it is.
    """
    found = table.prior.copy()
    for name, level in levels(patient, setting).items():
        found *= table.prior_factors[name][:, level]
    with_other = np.append(found, max(1 - found.sum(), OTHER_FLOOR))
    return np.asarray(with_other / with_other.sum())


def levels(patient: Patient, setting: Setting) -> dict[str, int]:
    """The level of each factor that is known.

    >>> levels(Patient(age_years=3, sex="male"), Setting(country="RW", hiv_prevalence=0.03))
    {'age': 2, 'sex': 1, 'hiv': 1, 'region': 0}
    """
    known: dict[str, int] = {}
    if (age := patient.age_in_years) is not None:
        known["age"] = int(np.searchsorted(AGE_BANDS_YEARS, age, side="right")) - 1
    if patient.sex in PRIOR_FACTORS["sex"]:
        known["sex"] = PRIOR_FACTORS["sex"].index(patient.sex)
    if setting.malaria_zone is not None:
        known["malaria"] = PRIOR_FACTORS["malaria"].index(setting.malaria_zone)
    if setting.hiv_prevalence is not None:
        known["hiv"] = int(np.searchsorted(HIV_BANDS, setting.hiv_prevalence, side="right"))
    if setting.season is not None:
        known["season"] = PRIOR_FACTORS["season"].index(setting.season)
    if setting.country is not None:
        names = [name for name, codes in COUNTRIES.items() if setting.country in codes.split()]
        known["region"] = PRIOR_FACTORS["region"].index(names[0] if names else "elsewhere")
    return known
