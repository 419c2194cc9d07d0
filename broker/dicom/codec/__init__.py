"""Between bytes and values: data sets, the DICOM JSON model, character sets, transliteration."""
