"""Verbs that fit: pre-training, fine-tuning, baselines, and what a run would take."""
