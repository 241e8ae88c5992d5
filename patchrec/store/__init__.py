"""The store: one SQLite file with data sets, runs, metrics and rankings."""
