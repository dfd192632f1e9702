"""A FHIR Bundle becomes a case; the only place that knows FHIR's shapes.

HL7 FHIR R4 (4.0.1), https://hl7.org/fhir/R4/, with that edition's profile "Vital Signs"
(observation-vitalsigns: LOINC codes, UCUM units). `codes` says which codes stand in the profile and
which were written down from memory.

`case_from_bundle` gives the same mapping that a case JSON parses to, so that one set of checks serves
both. What a bundle does not say stays absent. What it says and we do not read is counted in
`BundleReading.ignored`, never dropped in silence. Resources marked entered-in-error do not count.

Of several values of one kind the latest is taken. Observations made more than a day before the
consultation (the latest Encounter, else the latest Observation) are history, not today's values.
"""

from akazuba.fhir.bundle import BundleReading, case_from_bundle

__all__ = ["BundleReading", "case_from_bundle"]
