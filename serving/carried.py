"""The model that a Bento carries: an archive that lay beside ``bentofile.yaml`` when it was built.

In a checkout the same file means nothing: what is served there is what the environment says.
"""

from __future__ import annotations

from pathlib import Path

from serving.settings import Settings

ARCHIVE_FILE = "model.patchbay"

_ROOT = Path(__file__).parent.parent


def carried_archive(root: Path = _ROOT) -> Path | None:
    """The archive in this code's Bento; None if there is none, or this is no Bento.

    Args:
        root: the folder that the packages lie in.
    """
    archive = root / ARCHIVE_FILE
    is_bento = (root.parent / "bento.yaml").is_file()
    return archive if is_bento and archive.is_file() else None


def with_carried(settings: Settings, root: Path = _ROOT) -> Settings:
    """Settings that serve the carried model where they name no other.

    Args:
        settings: a service's.
        root: as `carried_archive` takes it.
    """
    archive = carried_archive(root)
    if archive is None or settings.model_uri is not None or settings.archive is not None:
        return settings
    return settings.model_copy(update={"archive": archive})
