"""Talks to a PACS: census, retrieval, the storage receiver. The only room that imports pynetdicom (with the demo)."""
