"""Training: batches, schedule, loop and checkpoints of both stages."""
