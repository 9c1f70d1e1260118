"""How far a run is: see `kernelproof.reference.progress`."""

from kernelproof.reference.progress import Progress

__all__ = ["Progress"]
