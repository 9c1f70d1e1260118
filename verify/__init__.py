"""verify: cases, targets, checks and the runner; and the function `kernelproof.verify(...)` itself.

``kernelproof.verify`` is both a package and, for whoever uses it, the verb that the command line has. A name
can stand for one object only, so the package is made callable: calling it loads `kernelproof.api`, which is
above this floor and therefore found by name when it is called, never imported from here.

Type checkers see the call with the signature of `kernelproof.api.verify`. Pyright takes a name for a plain package in
a file that has a line such as ``import kernelproof.verify.records``; there, write
``from kernelproof.verify import records`` instead.

>>> import kernelproof
>>> callable(kernelproof.verify)
True
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelproof import api


class CallablePackage(ModuleType):
    """A package that can be called as `kernelproof.api.verify`."""

    if TYPE_CHECKING:
        __call__ = staticmethod(api.verify)
    else:

        def __call__(self, *targets: Any, **options: Any) -> Any:
            """What `kernelproof.api.verify` returns, a `kernelproof.verify.record.schema.Results`."""
            return import_module("kernelproof.api").verify(*targets, **options)


sys.modules[__name__].__class__ = CallablePackage
