"""Data sets: files to catalog, histories and splits."""
