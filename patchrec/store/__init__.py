"""The store: one SQLite file with data sets, backbones, runs, metrics and rankings."""

from patchrec.store.connection import Store, home

__all__ = ["Store", "home"]
