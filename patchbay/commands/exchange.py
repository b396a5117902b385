"""``patchbay export`` and ``patchbay import``: a model with all it needs as one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchbay import options
from patchbay.console import emit, say, table
from patchbay.session import open_registry

if TYPE_CHECKING:
    from registry.exchange import Exchanged
    from registry.registry import Registry


@click.command("export", short_help="Write a model with all it needs into one file.")
@click.argument("uri")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--pyfunc",
    is_flag=True,
    help="Write FILE as a folder that MLflow's own tools score with: `mlflow.pyfunc.load_model`, "
    "`spark_udf`. Its code is the installed patchbay; nothing executable is stored.",
)
@click.option(
    "--with-strong",
    is_flag=True,
    help="Also the strong models that class modules were taken from; nothing needs them to run.",
)
@options.home
@options.as_json
def export(
    uri: str, file: Path, pyfunc: bool, with_strong: bool, home: Path | None, as_json: bool
) -> None:
    """Write the version URI and all that it needs into FILE, for `patchbay import`.

    A patched model goes with its weak model and class modules. Bundles are written byte for byte,
    so that their digests are the same on both sides.
    """
    if pyfunc and with_strong:
        raise click.UsageError("--with-strong goes with an archive; nothing needs them to run")
    if file.is_dir() and not pyfunc:
        raise click.UsageError(f"{file} is a folder; name a file in it")
    registry = open_registry(home, addresses=[uri], reads_only=True)
    if pyfunc:
        exported = _export_pyfunc(registry, uri, file)
    else:
        exported = registry.exchange.export_archive(uri, file, with_strong=with_strong)
    files = [path for path in file.rglob("*") if path.is_file()] if pyfunc else [file]
    size_bytes = sum(path.stat().st_size for path in files)
    if as_json:
        emit(
            {
                "file": str(file),
                "size_bytes": size_bytes,
                "versions": [
                    {name: value for name, value in asdict(one).items() if name not in _HERE}
                    for one in exported
                ],
            }
        )
        return
    _show(f"{file}, {size_bytes:,} bytes", exported, ("version",), lambda one: (one.source,))
    if pyfunc:
        say(f"Next, where patchbay is installed: mlflow.pyfunc.load_model({str(file)!r})")
    else:
        say(f"Next, where it is to go: patchbay import {file.name}")


@click.command("import", short_help="Register what an exported file holds.")
@click.argument("file", type=click.Path(exists=True, path_type=Path, dir_okay=False))
@options.home
@options.as_json
def import_(file: Path, home: Path | None, as_json: bool) -> None:
    """Register the versions in FILE, each under its name with the next number.

    Every byte is checked, and each version is loaded and compared with its test prediction before
    it is registered; nothing in the file is executed. What is here already is not registered
    again. Aliases stay as they are: `patchbay promote` moves them.
    """
    from registry.bundles.archive import require_archive

    require_archive(file)  # before a registry is made for it
    registry = open_registry(home)
    imported = registry.exchange.import_archive(file)
    if as_json:
        emit({"file": str(file), "versions": [asdict(one) for one in imported]})
        return
    _show(
        f"{file}",
        imported,
        ("there", "here", ""),
        lambda one: (one.source, one.uri, "new" if one.is_new else "was here"),
    )


def _export_pyfunc(registry: Registry, uri: str, folder: Path) -> list[Exchanged]:
    from registry.errors import RegistryError
    from serving.pyfunc import answer_columns

    kind = registry.find(uri).kind
    if kind == "class_module":
        raise RegistryError(f"{uri} scores one class alone; export a strong, weak or patched model")
    columns = answer_columns(patched=kind == "patched")
    return registry.exchange.export_pyfunc(uri, folder, loader="serving.pyfunc", columns=columns)


_HERE = ("uri", "is_new")


def _show(
    title: str,
    exchanged: Sequence[Exchanged],
    header: tuple[str, ...],
    cells: Callable[[Exchanged], tuple[str, ...]],
) -> None:
    """A version a line, with what can be compared on both sides."""
    table(
        title,
        (*header, "SHA-256", "files", "bytes"),
        [
            (*cells(one), one.digest[:16], str(one.files), f"{one.size_bytes:,}")
            for one in exchanged
        ],
        left=len(header) + 1,
    )
    files, size_bytes = sum(one.files for one in exchanged), sum(o.size_bytes for o in exchanged)
    say(f"{len(exchanged)} versions, {files} files, {size_bytes:,} bytes.")
