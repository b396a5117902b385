"""The entry point: every command, and one clear message for whatever goes wrong."""

from __future__ import annotations

import os
import signal
import sys

import click

from patchbay import __version__
from patchbay.commands.bench import bench
from patchbay.commands.check import check, delete
from patchbay.commands.demo import demo
from patchbay.commands.diagnose import diagnose
from patchbay.commands.evaluate import evaluate
from patchbay.commands.exchange import export, import_
from patchbay.commands.listing import list_versions
from patchbay.commands.modularize import modularize
from patchbay.commands.moves import history, rollback
from patchbay.commands.patch import patch
from patchbay.commands.predict import predict
from patchbay.commands.promote import promote
from patchbay.commands.recommend import recommend
from patchbay.commands.serve import serve
from patchbay.commands.show import show
from patchbay.commands.train import train

_LONGEST = 200  # characters of a wrong value that a message repeats
INTERRUPTED = 130  # what a shell reports for a process that Ctrl-C ended


class InOrder(click.Group):
    """Lists commands in the order in which one meets them, not by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names as they were added."""
        return list(self.commands)


@click.group(
    cls=InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="patchbay")
def commands() -> None:
    """Fix a deployed image classifier that is weak on some class, without retraining it.

    Models are named as MLflow writes them: models:/NAME/VERSION or models:/NAME@ALIAS.
    """


for _command in (
    *(demo, train, modularize, diagnose, recommend, patch, evaluate, predict),
    *(list_versions, show, promote, rollback, history, delete, check, export, import_),
    *(serve, bench),
):
    commands.add_command(_command)


def main() -> None:
    """Run a command; end with 0, with 1 and one message, or with 130 after Ctrl-C."""
    signal.signal(signal.SIGTERM, _end)
    try:
        commands(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _say("stopped")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("PATCHBAY_DEBUG"):
            raise
        _say(_explained(error))
        sys.exit(1)


def _explained(error: Exception) -> str:
    """What to tell a user of an error."""
    from modularizer.errors import ModularizerError
    from registry.errors import RegistryError
    from serving.errors import ServingError

    if isinstance(error, ModularizerError | RegistryError | ServingError):
        return str(error)
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}, found {_shortened(one['input'])}"
            if one["loc"]
            else one["msg"].removeprefix("Value error, ")
            for one in error.errors()
        )
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
    return (
        f"{type(error).__name__}: {error}. Nobody foresaw this, so it is a defect of patchbay; "
        "PATCHBAY_DEBUG=1 shows where it happened"
    )


def _shortened(value: object) -> str:
    found = repr(value)
    return found if len(found) <= _LONGEST else f"{found[:_LONGEST]}..."


def _end(number: int, _: object) -> None:
    """End as after an exception, so that a service that was started is stopped."""
    sys.exit(128 + number)


def _say(message: str) -> None:
    click.echo(f"patchbay: {message}", err=True)
