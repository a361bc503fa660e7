"""Facts of the DICOM standard and word lists that the engine reads; data only."""
