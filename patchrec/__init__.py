"""patchrec: LLM-based sequential recommendation over long histories."""

__version__ = "0.1.0"
