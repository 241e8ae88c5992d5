"""Verb: export a run as a model folder with its card, and upload it."""
