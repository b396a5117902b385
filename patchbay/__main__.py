"""Where the process enters: Ctrl-C is quiet from here on, while imports still run, too."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

_SECONDS_BEFORE_AGAIN = 0.05


def main() -> None:
    """Run the command line."""
    sys.unraisablehook = _send_again
    try:
        from patchbay.main import INTERRUPTED
        from patchbay.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _send_again(told: Any) -> None:
    """Ctrl-C in a callback of the garbage collector ends nothing: let it come once more."""
    if isinstance(told.exc_value, KeyboardInterrupt):
        signalling = (os.getpid(), signal.SIGINT)
        threading.Timer(_SECONDS_BEFORE_AGAIN, os.kill, signalling).start()
    else:
        sys.__unraisablehook__(told)


if __name__ == "__main__":
    main()
