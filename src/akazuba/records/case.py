"""What comes in: one consultation, as the nurse or another system tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

CASE_VERSION = 1

NOTE_MAX_CHARACTERS = 20_000


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value; an unknown field is refused, because a misspelt vital sign must not vanish."""


Name = Annotated[str, Meta(min_length=1, max_length=200)]
Sex = Literal["female", "male", "other", "unknown"]
Consciousness = Literal["alert", "confused", "voice", "pain", "unresponsive"]
ImageKind = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*$", max_length=60)]
IsoDate = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Patient(Value, frozen=True):
    age_years: Annotated[float, Meta(ge=0, le=125)] | None = None
    age_months: Annotated[float, Meta(ge=0, le=1500)] | None = None
    age_days: Annotated[float, Meta(ge=0, le=45_700)] | None = None
    sex: Sex | None = None
    pregnant: bool | None = None
    weight_kg: Annotated[float, Meta(ge=0.3, le=400)] | None = None
    height_cm: Annotated[float, Meta(ge=20, le=260)] | None = None

    @property
    def age_in_years(self) -> float | None:
        """Age in years from whichever of the three fields is given (the finest wins).

        >>> Patient(age_months=6).age_in_years
        0.5
        """
        if self.age_days is not None:
            return self.age_days / 365.25
        if self.age_months is not None:
            return self.age_months / 12
        return self.age_years


class Vitals(Value, frozen=True):
    temperature_c: Annotated[float, Meta(ge=25, le=45, description="body temperature, °C")] | None = None
    heart_rate_bpm: Annotated[float, Meta(ge=0, le=350, description="beats a minute")] | None = None
    respiratory_rate_bpm: Annotated[float, Meta(ge=0, le=150, description="breaths a minute")] | None = None
    systolic_mmhg: Annotated[float, Meta(ge=0, le=320, description="mmHg")] | None = None
    diastolic_mmhg: Annotated[float, Meta(ge=0, le=220, description="mmHg")] | None = None
    spo2_percent: Annotated[float, Meta(ge=20, le=100, description="oxygen saturation, %")] | None = None
    consciousness: Consciousness | None = None
    glucose_mmol_l: Annotated[float, Meta(ge=0.1, le=36, description="blood glucose, mmol/L")] | None = None
    on_oxygen: bool | None = None
    capillary_refill_s: Annotated[float, Meta(ge=0, le=20, description="seconds")] | None = None


class Sensed(Value, frozen=True):
    """A vital sign that a sensor gave; it counts as the sensor's while `vitals` holds what was read."""

    vital: Literal[
        "temperature_c",
        "heart_rate_bpm",
        "respiratory_rate_bpm",
        "systolic_mmhg",
        "diastolic_mmhg",
        "spo2_percent",
        "glucose_mmol_l",
        "capillary_refill_s",
    ]
    sensor: Name
    value: Annotated[float, Meta(description="as it was read, in the unit of `vitals`")]
    at: Annotated[
        str,
        Meta(
            pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})$",
            description="when it was read, by the box's clock",
        ),
    ]
    simulated: bool = False


class ReportedFinding(Value, frozen=True):
    """A finding that a person or another program coded; `id` is an HPO id or one of ours (AKZ:…)."""

    id: Name
    present: bool = True
    onset_days_ago: Annotated[float, Meta(ge=0, le=45_700)] | None = None


class TestResult(Value, frozen=True):
    __test__ = False  # not a pytest class

    id: Name
    result: Name


class ImageRef(Value, frozen=True):
    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    kind: ImageKind


class Lab(Value, frozen=True):
    loinc: Annotated[str, Meta(pattern=r"^\d{1,7}-\d$")]
    value: float
    unit: Name


class Medication(Value, frozen=True):
    name: Name
    dose_mg: Annotated[float, Meta(gt=0)] | None = None


class Setting(Value, frozen=True):
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")] | None = None
    region: Name | None = None
    malaria_zone: Literal["none", "low", "moderate", "high"] | None = None
    hiv_prevalence: Annotated[float, Meta(ge=0, le=1, description="share of adults")] | None = None
    season: Literal["dry", "rainy"] | None = None
    tests_available: Annotated[
        tuple[Name, ...] | None,
        Meta(description="ids of the tests that are done at this post, without `test:`; null when unknown"),
    ] = None


class Case(Value, frozen=True):
    """One consultation as it comes in. Only `id` is required."""

    id: Name
    patient: Patient = Patient()
    note: Annotated[str, Meta(max_length=NOTE_MAX_CHARACTERS)] = ""
    language: Annotated[str, Meta(pattern=r"^[a-z]{2,3}$", description="ISO 639 code of the note")] = "en"
    vitals: Vitals = Vitals()
    sensed: Annotated[
        tuple[Sensed, ...],
        Meta(max_length=20, description="which of `vitals` sensors gave; nothing of what was typed"),
    ] = ()
    findings: Annotated[tuple[ReportedFinding, ...], Meta(max_length=500)] = ()
    tests: Annotated[tuple[TestResult, ...], Meta(max_length=200)] = ()
    images: Annotated[tuple[ImageRef, ...], Meta(max_length=20)] = ()
    labs: Annotated[tuple[Lab, ...], Meta(max_length=1000)] = ()
    medications: (
        Annotated[
            tuple[Medication, ...],
            Meta(max_length=60, description="what is taken now; [] is nothing, null is not asked"),
        ]
        | None
    ) = None
    allergies: (
        Annotated[tuple[Name, ...], Meta(max_length=60, description="[] is none known, null is not asked")]
        | None
    ) = None
    conditions: Annotated[tuple[Name, ...], Meta(max_length=60)] = ()
    gestational_age_weeks: Annotated[float, Meta(ge=0, le=45)] | None = None
    answers: Annotated[
        Mapping[Name, str | float | bool],
        Meta(
            max_length=500,
            description="answers to questions of guidelines that have no field here, by the input's name",
        ),
    ] = {}
    date: IsoDate | None = None
    setting: Setting = Setting()

    @property
    def from_sensors(self) -> Mapping[str, Sensed]:
        """By the field of `vitals`: what sensors gave and nobody changed since.

        >>> read = Sensed("spo2_percent", "oximeter", 93, "2026-11-29T10:42:00+02:00")
        >>> [*Case("c", vitals=Vitals(spo2_percent=93), sensed=(read,)).from_sensors]
        ['spo2_percent']
        >>> [*Case("c", vitals=Vitals(spo2_percent=95), sensed=(read,)).from_sensors]
        []
        """
        return {one.vital: one for one in self.sensed if getattr(self.vitals, one.vital) == one.value}
