"""«Описание»: what waits for a report, the study beside it, the report itself."""
