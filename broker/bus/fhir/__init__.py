"""FHIR as plain JSON, for everything here that writes or reads it: values, ids and references.

Pure, and without any profile of a region. `fhir_server`, which validates what is made here, has its own.
"""
