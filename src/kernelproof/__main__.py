"""`python -m kernelproof`: the command line, for use when its script is not on the path."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # With -m Python begins its path with the working folder, where a file locale.py is no module of Python.
    if sys.path[0] == str(Path.cwd()):
        sys.path.append(sys.path.pop(0))

    from kernelproof.cli import main

    main()
