"""A search's report as evidence in a class module's bundle, and as pictures beside its run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from modularizer.pictures import save_pictures
from modularizer.search_report import SearchReport
from registry.bundles.manifest import EVIDENCE_FILE
from registry.bundles.manifest_file import first_complaint
from registry.bundles.strict_json import dump_strict_json
from registry.errors import BundleError
from registry.store.runs import RunLog

logger = logging.getLogger(__name__)

_KEY = "search"


def dump_report(report: SearchReport) -> bytes:
    """The evidence file that holds a report.

    Raises:
        BundleError: if it holds NaN or infinity.
    """
    return dump_strict_json({_KEY: report.model_dump(mode="json")}, EVIDENCE_FILE, indent=None)


def report_in(evidence: Mapping[str, Any], class_name: str) -> SearchReport | None:
    """The report in a class module's evidence; None if it holds none.

    Args:
        evidence: as `Registry.evidence` gives it.
        class_name: the class module's.

    Raises:
        BundleError: if what is there is no report, or one of other classes.
    """
    if _KEY not in evidence:
        return None
    try:
        report = SearchReport.model_validate(evidence[_KEY])
    except ValidationError as error:
        raise BundleError(f"{EVIDENCE_FILE} is not valid: {first_complaint(error)}") from error
    if class_name not in report.class_names:
        raise BundleError(f"{EVIDENCE_FILE} tells of a search without the class {class_name!r}")
    return report


def upload_report_pictures(run: RunLog, report: SearchReport) -> None:
    """Draw a report and put the pictures beside the run.

    They can be drawn again from the bundles at any time, so what goes wrong here is logged and
    costs no search its result.
    """
    try:
        with TemporaryDirectory(prefix="patchbay-") as temporary:
            run.upload_pictures(save_pictures(report, Path(temporary)))
    except Exception:
        logger.warning("the pictures of the search could not be stored", exc_info=True)
