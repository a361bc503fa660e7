"""``make score``: planted identifiers and useful content, before and after the project and its peers."""
