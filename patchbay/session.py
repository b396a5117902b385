"""What nearly every command begins with: threads, the registry, the data that fits a model."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from modularizer.datasets.data_splits import DataSplits
    from registry.registry import Registry
    from serving.settings import Settings


def open_registry(
    home: Path | None,
    *,
    threads: int = 1,
    addresses: Sequence[str] = (),
    reads_only: bool = False,
) -> Registry:
    """Open the registry for a command, with as many threads as it may use.

    Args:
        home: the embedded registry's folder; None for the environment's choice.
        threads: of a network.
        addresses: what the command was given; a typing error is told before seconds of imports.
        reads_only: whether a registry that is not there yet is an error rather than made.

    Raises:
        RegistryError: if an address is none, or there is no registry to read.
    """
    from registry.errors import StoreError
    from registry.naming import parse_address
    from registry.store.home import locate

    for address in addresses:
        parse_address(address)
    folder = locate(home).home
    if reads_only and folder is not None and not (folder / "mlflow.db").is_file():
        raise StoreError(
            f"there is no registry in {folder}; `patchbay demo` or `patchbay train` makes one, "
            "--home and PATCHBAY_HOME name another"
        )
    quieten()
    import torch

    from registry.registry import Registry

    torch.set_num_threads(threads)
    return Registry.open(home)


def quieten() -> None:
    """Have MLflow run no pickles, and nobody else's warnings shown: for whole processes alone."""
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"  # nothing here needs it
    warnings.simplefilter("ignore")  # other people's deprecations are not for our users
    logging.getLogger("mlflow").setLevel(logging.ERROR)


def load_splits(
    source: str, *, seed: int, classes: Sequence[str] | None, size: int | None
) -> DataSplits:
    """Load data with these classes, in this order: those of the model at hand; None for all.

    Args:
        source: as `modularizer.datasets.recipes.load_data` takes it.
        seed: of the splits.
        classes: names.
        size: pixels each way to resize the images of a folder to, or None.
    """
    from modularizer.datasets.recipes import load_data

    return load_data(
        source, seed=seed, classes=classes, size=None if size is None else (size, size)
    )


def files_folder(home: Path | None) -> Path:
    """Where a command puts files of its own: the home, made if it is not there."""
    folder = home or Path(os.environ.get("PATCHBAY_HOME") or ".patchbay")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def alone(lock_file: Path, work: str) -> Iterator[None]:
    """Around work that two processes must not do at once.

    Args:
        lock_file: made, with its folder, if it is not there.
        work: what it is, for the message.

    Raises:
        click.ClickException: if another process is at it.
    """
    from filelock import FileLock, Timeout

    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise click.ClickException(
            f"another process is at this {work} already (it holds {lock_file})"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def kept_search(checkpoint: Path, *, restart: bool, quiet: bool) -> Iterator[None]:
    """Around a search: nobody else is at it, and whoever ends it hears how to go on.

    Args:
        checkpoint: where the search is kept.
        restart: remove what is there.
        quiet: say nothing about going on.

    Raises:
        click.ClickException: if another process is at the same search.
    """
    lock_file = checkpoint.with_suffix(".lock")
    with alone(lock_file, "search"):
        try:
            if restart:
                checkpoint.unlink(missing_ok=True)
            elif checkpoint.exists() and not quiet:
                click.echo(f"going on where {checkpoint} ends; --restart begins anew", err=True)
            yield
        except (KeyboardInterrupt, SystemExit):
            if checkpoint.exists():
                click.echo(
                    f"\nkept up to here in {checkpoint}: the same command goes on, and --restart "
                    "begins anew",
                    err=True,
                )
            raise
        finally:
            if not checkpoint.exists():  # removed while it is held: a lock without a name is none
                lock_file.unlink(missing_ok=True)


def service_settings(uri: str, *, home: Path | None, threads: int, device: str) -> Settings:
    """The service's settings: the environment's, overruled by what the command was told.

    Without a home the service finds the registry as every command does.
    """
    from serving.settings import Settings

    settings = Settings.from_environment(os.environ)
    if home is None and os.environ.get("MLFLOW_TRACKING_URI"):
        settings = settings.model_copy(update={"home": None})
    told = {"model_uri": uri, "threads": threads, "device": device}
    kept = settings.model_dump() if home is None else {**settings.model_dump(), "home": home}
    return Settings.model_validate({**kept, **told})
