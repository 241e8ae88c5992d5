"""Evaluation: metrics, significance and efficiency."""
