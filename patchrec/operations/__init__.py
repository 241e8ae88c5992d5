"""The verbs a user thinks in, one file each: they open the store, call the layers below and return plain results.

Every operation takes `home` (folder of the store; None lets it choose) and reports through `report`. torch is imported
only by those that run a model, and only when they run.
"""
