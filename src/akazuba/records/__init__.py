"""The frozen values that cross rooms, and the two documents that leave the box.

`Case` (in) and `Assessment` (out) are version 1 of the formats that other programs rely on; their
JSON Schemas are published in `docs/schemas/`. Units stand in the names. A field that is absent was
not assessed; it is never read as normal. The ranges are the limits of what a living (or just
arrested) patient can show: a value outside is a slip of unit or key and is asked back.

Stored records change by addition only: a field keeps its meaning, a new meaning gets a new field.
"""

from akazuba.records.assessment import (
    ASSESSMENT_VERSION as ASSESSMENT_VERSION,
    GIVEN as GIVEN,
    Action as Action,
    Answer as Answer,
    AnswerPassage as AnswerPassage,
    Assessment as Assessment,
    Candidate as Candidate,
    Counterfactual as Counterfactual,
    Evidence as Evidence,
    ImageReading as ImageReading,
    Level as Level,
    Likely as Likely,
    Missing as Missing,
    Narrative as Narrative,
    Protocol as Protocol,
    Provenance as Provenance,
    Quality as Quality,
    RuleFired as RuleFired,
    SharedOpinion as SharedOpinion,
    TokenWeight as TokenWeight,
    ToolStep as ToolStep,
    Triage as Triage,
    TriageReason as TriageReason,
    Urgency as Urgency,
    json_schema as json_schema,
)
from akazuba.records.case import (
    CASE_VERSION as CASE_VERSION,
    NOTE_MAX_CHARACTERS as NOTE_MAX_CHARACTERS,
    Case as Case,
    Consciousness as Consciousness,
    ImageKind as ImageKind,
    ImageRef as ImageRef,
    IsoDate as IsoDate,
    Lab as Lab,
    Medication as Medication,
    Name as Name,
    Patient as Patient,
    ReportedFinding as ReportedFinding,
    Sensed as Sensed,
    Setting as Setting,
    Sex as Sex,
    TestResult as TestResult,
    Value as Value,
    Vitals as Vitals,
)
from akazuba.records.rooms import (
    AGE_BANDS_YEARS as AGE_BANDS_YEARS,
    CAUTION as CAUTION,
    PRIOR_FACTORS as PRIOR_FACTORS,
    Condition as Condition,
    Finding as Finding,
    FindingColumn as FindingColumn,
    KnowledgeTable as KnowledgeTable,
    ModelEvidence as ModelEvidence,
    NoteReading as NoteReading,
    Picture as Picture,
    QualityProblem as QualityProblem,
)
