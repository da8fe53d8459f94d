"""The `jigstack` command."""


def main() -> None:
    """Read the command line and run one sub-command."""
    from .commands import app

    app()
