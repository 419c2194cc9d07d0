"""Patients as they are read: `patient_index` who somebody is, `patient_search` while a person
types, `patient_history` studies made before."""
