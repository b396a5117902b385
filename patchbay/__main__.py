"""Where the process enters: Ctrl-C is quiet from here on, while imports still run, too."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from patchbay.main import INTERRUPTED
        from patchbay.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
