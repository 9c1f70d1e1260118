"""`python -m kernelproof`: the command line, for use when its script is not on the path."""

from kernelproof.cli import main

if __name__ == "__main__":
    main()
