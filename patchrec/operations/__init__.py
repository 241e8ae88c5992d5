"""The verbs a user thinks in: they open the store, call the layers below and return plain results.

One file each; those of several parts are rooms of their own (`training`, `many`, `exporting`). Every operation takes
`home` (folder of the store; None lets it choose) and reports through `report`. torch is imported only by those that run
a model, and only when they run.
"""
