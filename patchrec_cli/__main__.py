"""`python -m patchrec_cli` is `patchrec`."""

from patchrec_cli.app import script

script()
