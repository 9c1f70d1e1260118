"""The command ``kernelproof`` without the seconds that shrinking takes, for tests of everything else."""

from __future__ import annotations

PROGRAM = """\
import sys
from kernelproof.verify.fuzz import scripts
scripts.SUBJECTS = 0
from kernelproof.cli import main
sys.argv[0] = "kernelproof"
sys.exit(main())
"""
