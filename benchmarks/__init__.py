"""Measurements of this project beside what a good engineer would script with plain tools. See README.md."""
