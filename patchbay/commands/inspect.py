"""``patchbay list`` and ``patchbay show``: what the registry holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from patchbay import diagnosis_view, options, search_view
from patchbay.console import emit, facts, say, table
from patchbay.session import open_registry

if TYPE_CHECKING:
    from pydantic import BaseModel

    from modularizer.search_report import SearchReport
    from registry.bundles.manifest import AnyManifest, Origin
    from registry.version import Version

_KINDS = ("strong", "weak", "class_module", "patched")
_NO_SEARCH = "This version holds no evidence of its search: it was registered before that was kept."


@click.command("list", short_help="List what the registry holds.")
@click.option("--kind", type=click.Choice(_KINDS), help="Only versions of this kind.")
@options.home
@options.as_json
def list_versions(kind: Any, home: Path | None, as_json: bool) -> None:
    """List every registered version: strong, weak, class modules and patched models."""
    versions = open_registry(home, reads_only=True).versions(kind)
    if as_json:
        emit([_row(version) for version in versions])
        return
    if not versions:
        say("The registry holds no version yet; `patchbay demo` fills it with an example.")
        return
    table(
        f"{len(versions)} version{'s' if len(versions) > 1 else ''}",
        ("name", "version", "kind", "aliases", "classes", "patches", "made"),
        [
            (
                version.name,
                str(version.version),
                version.kind,
                ", ".join(version.aliases),
                ", ".join(version.class_names),
                ", ".join(version.patched_classes),
                f"{version.created:%Y-%m-%d %H:%M}",
            )
            for version in versions
        ],
        left=7,
    )


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
    """Show one version: what it is, what it was made from, what uses it, its evidence.

    Of a class module also the search: how it converged, which kernels the module keeps, and
    which other modules share them.
    """
    registry = open_registry(home, addresses=[uri], reads_only=True)
    from registry.bundles.manifest import EVIDENCE_FILE
    from registry.reports import report_in

    version = registry.find(uri)
    manifest = registry.manifest(version.uri)
    users = registry.used_by(version)
    diagnoses = registry.diagnoses(version)
    evidence = registry.evidence(version.uri) if EVIDENCE_FILE in manifest.files else {}
    report = report_in(evidence, version.class_names[0])
    drawn = _draw(report, version, pictures)
    if as_json:
        emit(
            {
                **_row(version),
                "used_by": [user.uri for user in users],
                "diagnoses": [diagnosis_view.stored_json(one) for one in diagnoses],
                "manifest": manifest.model_dump(mode="json"),
                "evidence": dict(evidence),
                "search": report and search_view.as_json(report, version.class_names[0]),
                "pictures": [str(path) for path in drawn],
            }
        )
        return
    origin = manifest.origin
    rows = [
        ("kind", version.kind),
        ("aliases", ", ".join(version.aliases) or "none"),
        ("classes", ", ".join(version.class_names)),
        ("patches", ", ".join(version.patched_classes) or "none"),
        ("calibration", "; ".join(_calibrations(manifest)) or "none"),
        *_fusion(manifest),
        ("made", f"{version.created:%Y-%m-%d %H:%M:%S} UTC"),
        ("from", ", ".join(version.parents) or "nothing registered"),
        ("used by", ", ".join(user.uri for user in users) or "nothing yet"),
        *diagnosis_view.stored_rows(diagnoses),
        ("data", _data(origin)),
        ("seed", str(origin.seed)),
        ("settings", ", ".join(f"{k}={v}" for k, v in origin.settings.items())),
        ("digest", version.digest),
        ("MLflow", f"run {version.run_id}, model {version.model_id}"),
    ]
    facts(version.uri, rows)
    if version.metrics:
        numbers = sorted(version.metrics.items())
        facts("Evidence", [(name, _number(value)) for name, value in numbers])
    if evidence.get("registered_anyway"):
        say("No rule gained on the validation images; it was registered anyway.")
    if report is not None:
        search_view.show_search(report, version.class_names[0])
    elif version.kind == "class_module":
        say(_NO_SEARCH)
    for path in drawn:
        say(f"drawn: {path}")


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


def _data(origin: Origin) -> str:
    if not origin.data_source:
        return "none"
    return f"{origin.data_source}, fingerprint {origin.data_fingerprint[:12]}"


def _calibrations(manifest: AnyManifest) -> list[str]:
    """How each class module's score is, or can be, calibrated, for the kinds that have one."""
    if manifest.kind == "class_module":
        return [_numbers(one) for one in manifest.calibrations.values()]
    if manifest.kind == "patched":
        return [f"{one.class_name}: {_numbers(one.calibration)}" for one in manifest.patches]
    return []


def _numbers(stored: BaseModel) -> str:
    return " ".join(_short(value) for value in stored.model_dump().values())


def _fusion(manifest: AnyManifest) -> list[tuple[str, str]]:
    """What modules see, and how scores join the weak model's, for the kind that does it."""
    if manifest.kind != "patched":
        return []
    values = manifest.fusion.model_dump()
    named = [f"{name} {_short(value)}" for name, value in values.items() if name != "kind"]
    views = "as they are and mirrored" if manifest.mirrored else "as they are"
    return [("fusion", f"{values['kind']}, {', '.join(named)}"), ("modules see images", views)]


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}"


def _row(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "uri": version.uri,
        "kind": version.kind,
        "aliases": list(version.aliases),
        "class_names": list(version.class_names),
        "patched_classes": list(version.patched_classes),
        "created": version.created.isoformat(),
        "metrics": dict(version.metrics),
        "parents": list(version.parents),
        "digest": version.digest,
    }
