"""patchrec: LLM-based sequential recommendation over long histories."""

import os

__version__ = "0.1.0"

# Waiting threads of OpenMP spin by default, on the cores that other programs' threads need: two programs on one machine
# then take twenty times as long as one. torch reads this once, when it is first imported; what a user set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
