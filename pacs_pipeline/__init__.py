"""From hospital PACS to a de-identified research lake, every night."""
