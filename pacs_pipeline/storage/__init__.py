"""Zones on disk and the S3 bucket. The only room that imports boto3."""
