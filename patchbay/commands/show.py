"""``patchbay show``: one page a version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchbay import options, search_view, show_view
from patchbay.console import emit, say
from patchbay.lineage import ancestors, descendants
from patchbay.session import open_registry

if TYPE_CHECKING:
    from modularizer.search_report import SearchReport
    from registry.history import Move
    from registry.registry import Registry
    from registry.version import Version

_NO_SEARCH = "This version holds no evidence of its search: it was registered before that was kept."


@click.command(short_help="Show one version, its lineage and its evidence.")
@click.argument("uri")
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Draw a class module's search as PNG files in this folder.",
)
@options.home
@options.as_json
def show(uri: str, pictures: Path | None, home: Path | None, as_json: bool) -> None:
    """Show one version: what it is, its lineage up and down, evidence, plots and files.

    Of a class module also the search: how it converged, which kernels the module keeps, and
    which other modules share them.
    """
    registry = open_registry(home, addresses=[uri], reads_only=True)
    from registry.bundles.manifest import EVIDENCE_FILE
    from registry.reports import report_in

    version = registry.find(uri)
    manifest = registry.manifest(version.uri)
    evidence = registry.evidence(version.uri) if EVIDENCE_FILE in manifest.files else {}
    report = report_in(evidence, version.class_names[0])
    listed = registry.versions()
    page = show_view.Page(
        version=version,
        manifest=manifest,
        evidence=evidence,
        up=ancestors(registry, version, listed),
        down=descendants(version, listed),
        diagnoses=registry.diagnoses(version),
        judged=_last_judged(registry, version),
        run_pictures=registry.pictures(version),
    )
    drawn = _draw(report, version, pictures)
    if as_json:
        emit(
            {
                **show_view.as_json(page),
                "search": report and search_view.as_json(report, version.class_names[0]),
                "pictures": [str(path) for path in drawn],
            }
        )
        return
    show_view.show_page(page)
    if report is not None:
        search_view.show_search(report, version.class_names[0])
    elif version.kind == "class_module":
        say(_NO_SEARCH)
    for path in drawn:
        say(f"drawn: {path}")


def _last_judged(registry: Registry, version: Version) -> Move | None:
    """The last move to this version that the gate was asked about."""
    from registry.history import Stand

    moves = registry.aliases.history(version.name) if version.kind == "patched" else []
    here = Stand.of(version)
    judged = [
        one
        for one in moves
        if one.after is not None and one.after.is_same(here) and one.verdict is not None
    ]
    return judged[-1] if judged else None


def _draw(report: SearchReport | None, version: Version, folder: Path | None) -> list[Path]:
    """Draw a search where that was asked for."""
    if folder is None:
        return []
    if report is None:
        why = (
            _NO_SEARCH if version.kind == "class_module" else "Only class modules come of a search."
        )
        raise click.ClickException(f"there is nothing to draw of {version.uri}. {why}")
    from modularizer.pictures import save_pictures

    folder.mkdir(parents=True, exist_ok=True)
    return save_pictures(report, folder)
