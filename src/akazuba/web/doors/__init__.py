"""The doors for other systems: REST, FHIR R4, CDS Hooks, DICOM. Each knows its own standard and no other."""
