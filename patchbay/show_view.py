"""One page about a version, for a terminal of 100 columns and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from patchbay import comparison, diagnosis_view
from patchbay.console import facts, say, table
from patchbay.lineage import Relative, in_use_as

if TYPE_CHECKING:
    from pydantic import BaseModel

    from registry.bundles.manifest import AnyManifest, Origin
    from registry.diagnoses import StoredDiagnosis
    from registry.history import Move
    from registry.version import Version

_MOST_RELATIVES = 20
_DIGEST_LETTERS = 24
_COSTS = ("kernels", "parameters", "multiply_adds")
_NUMBER_GROUPS = (
    ("kept", ("kernels_kept", "kernels_kept_share", "multiply_adds_share")),
    ("validation images", ("validation_", "composed_", "strong_", "random_", "diff")),
)


@dataclass(frozen=True)
class Page:
    """What is told of a version.

    Attributes:
        version: which.
        manifest: its own.
        evidence: as `Registry.evidence` gives it.
        up: what it was made from.
        down: what was made from it.
        diagnoses: stored ones, the newest first.
        judged: the last move to it that the gate was asked about.
        run_pictures: names of pictures beside its run.
    """

    version: Version
    manifest: AnyManifest
    evidence: Mapping[str, Any]
    up: Sequence[Relative]
    down: Sequence[Relative]
    diagnoses: Sequence[StoredDiagnosis]
    judged: Move | None
    run_pictures: Sequence[str]


def row(version: Version) -> dict[str, Any]:
    """A version in short, as JSON values."""
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


def as_json(page: Page) -> dict[str, Any]:
    """The page as JSON values."""
    version, manifest = page.version, page.manifest
    return {
        **row(version),
        "in_use_as": in_use_as(version),
        "used_by": [one.uri for one in page.down if one.depth == 1],
        "lineage": {
            "up": [one.as_json() for one in page.up],
            "down": [one.as_json() for one in page.down],
        },
        "cost": _cost(page),
        "diagnoses": [diagnosis_view.stored_json(one) for one in page.diagnoses],
        "gate": _gate_as_json(page.judged),
        "plots": [{"name": name, "where": where} for name, where in _plots(page)],
        "files": [
            {"name": name, "size_bytes": file.size_bytes, "sha256": file.sha256}
            for name, file in manifest.files.items()
        ],
        "manifest": manifest.model_dump(mode="json"),
        "evidence": dict(page.evidence),
        "mlflow": {"run_id": version.run_id, "model_id": version.model_id},
    }


def show_page(page: Page) -> None:
    """The page on stdout, but for a class module's search."""
    facts(page.version.uri, _what_it_is(page))
    facts("Lineage", _lineage(page))
    _show_evidence(page)
    _show_files(page)


def _what_it_is(page: Page) -> list[tuple[str, str]]:
    version, manifest = page.version, page.manifest
    return [
        ("kind", version.kind),
        ("aliases", ", ".join(version.aliases) or "none"),
        *([("in use as", ", ".join(in_use_as(version)))] if version.aliases else []),
        ("classes", ", ".join(version.class_names)),
        *([("patches", ", ".join(version.patched_classes))] if version.patched_classes else []),
        *([] if manifest.kind == "patched" else [("network", manifest.architecture.name)]),
        *_cost_row(page),
        *_calibration(manifest),
        *_fusion(manifest),
        ("made", f"{version.created:%Y-%m-%d %H:%M:%S} UTC"),
        ("digest", version.digest),
        ("MLflow", f"run {version.run_id}, model {version.model_id}"),
    ]


def _lineage(page: Page) -> list[tuple[str, str]]:
    origin = page.manifest.origin
    settings = ", ".join(f"{k}={v}" for k, v in origin.settings.items())
    return [
        ("from", _lines(page.up) or "nothing registered"),
        ("data", _data(origin)),
        ("seed", str(origin.seed)),
        *([("settings", settings)] if settings else []),
        ("commit", origin.git_commit or "unknown"),
        ("used by", _lines(page.down) or "nothing yet"),
    ]


def _lines(relatives: Sequence[Relative]) -> str:
    lines = [one.line for one in relatives[:_MOST_RELATIVES]]
    if more := len(relatives) - len(lines):
        lines.append(f"and {more} more; --json names all")
    return "\n".join(lines)


def _show_evidence(page: Page) -> None:
    from modularizer.metrics import stored_evaluations

    evaluations = stored_evaluations(page.evidence)
    metrics = dict(page.version.metrics)
    if evaluations:
        comparison.show_comparison("On validation images", evaluations)
        metrics = {k: v for k, v in metrics.items() if not k.startswith("validation_")}
    for name in _COSTS:
        metrics.pop(name, None)
    rows = _number_rows(metrics) + _gate(page.judged) + diagnosis_view.stored_rows(page.diagnoses)
    if rows:
        facts("Evidence", rows)
    if page.evidence.get("registered_anyway"):
        say("No rule gained on the validation images; it was registered anyway.")


def _number_rows(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """Numbers by what they are of, a line a group."""
    left = dict(sorted(metrics.items()))
    rows = []
    for group, names in _NUMBER_GROUPS:
        found = {k: left.pop(k) for k in list(left) if k.startswith(names)}
        if found:
            rows.append((group, _listed(found)))
    return [*rows, ("other", _listed(left))] if left else rows


def _listed(values: Mapping[str, float]) -> str:
    return "\n".join(f"{name} {_number(value)}" for name, value in values.items())


def _gate(move: Move | None) -> list[tuple[str, str]]:
    if move is None or move.verdict is None:
        return []
    said = "passed" if move.verdict.get("passed") else "refused"
    told = f"{said}{', overruled' if move.forced else ''} ({move.when:%Y-%m-%d %H:%M} UTC, "
    told += f"{move.action} to @{move.alias} by {move.who})"
    if basis := move.verdict.get("basis"):
        told += f"\njudged by {basis}"
    reasons = move.verdict.get("reasons")
    for reason in reasons if isinstance(reasons, list) else []:
        told += f"\nrefused: {reason}"
    return [("gate", f"{told}\nreason given: {move.reason}" if move.reason else told)]


def _gate_as_json(move: Move | None) -> dict[str, Any] | None:
    if move is None:
        return None
    return {
        "alias": move.alias,
        "action": move.action,
        "when": move.when.isoformat(),
        "who": move.who,
        "reason": move.reason,
        "forced": move.forced,
        "verdict": move.verdict,
        "run_id": move.run_id,
    }


def _plots(page: Page) -> list[tuple[str, str]]:
    """Each picture's name and where it lies."""
    from registry.bundles.manifest import PICTURES_FOLDER

    inside = [name for name in page.manifest.files if name.startswith(f"{PICTURES_FOLDER}/")]
    return [
        *((name, "the bundle") for name in inside),
        *(
            (f"{PICTURES_FOLDER}/{name}", f"run {page.version.run_id}")
            for name in page.run_pictures
        ),
    ]


def _show_files(page: Page) -> None:
    if plots := _plots(page):
        facts("Plots", plots)
    table(
        "Files of the bundle",
        ("name", "SHA-256", "bytes"),
        [
            (name, f"{file.sha256[:_DIGEST_LETTERS]}...", f"{file.size_bytes:,}")
            for name, file in page.manifest.files.items()
        ],
        left=2,
    )


def _cost(page: Page) -> dict[str, int] | None:
    """What it takes: its own, or its parts' together; None if a part of it is gone."""
    if page.manifest.kind != "patched":
        return dict(page.manifest.cost.model_dump())
    parts = {one.uri: one.version for one in page.up}
    weak, *modules = (parts.get(uri) for uri in page.version.parents)
    views = 2 if page.manifest.mirrored else 1
    total = dict.fromkeys(_COSTS, 0)
    for part, times in [(weak, 1), *((module, views) for module in modules)]:
        if part is None or not part.metrics.keys() >= set(_COSTS):
            return None
        for name in _COSTS:
            total[name] += int(part.metrics[name]) * (times if name == "multiply_adds" else 1)
    return total


def _cost_row(page: Page) -> list[tuple[str, str]]:
    cost = _cost(page)
    if cost is None:
        return []
    shown = f"{cost['kernels']:,} kernels, {cost['parameters']:,} parameters, "
    shown += f"{cost['multiply_adds']:,} multiply-adds an image"
    of = ", weak model and modules" if page.manifest.kind == "patched" else ""
    return [("cost", shown + of)]


def _data(origin: Origin) -> str:
    if not origin.data_source:
        return "none"
    return f"{origin.data_source}, fingerprint {origin.data_fingerprint[:12]}"


def _calibration(manifest: AnyManifest) -> list[tuple[str, str]]:
    """How each class module's score is, or can be, calibrated, for the kinds that have one."""
    if manifest.kind == "class_module":
        return [("calibration", "; ".join(_values(one) for one in manifest.calibrations.values()))]
    if manifest.kind == "patched":
        shown = [f"{one.class_name}: {_values(one.calibration)}" for one in manifest.patches]
        return [("calibration", "; ".join(shown))]
    return []


def _values(stored: BaseModel) -> str:
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
