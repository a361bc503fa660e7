"""The sample population and the embedded PACS and S3 server of the demo."""
