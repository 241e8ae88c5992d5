"""Verb: recommend for many users into a file."""
