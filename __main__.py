"""`python -m jigstack` is the `jigstack` command."""

from jigstack.cli import main

if __name__ == "__main__":
    main()
