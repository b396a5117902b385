"""The registry: models go in as records and come out as classifiers that run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.patched import PatchedClassifier
from modularizer.classifier import Classifier
from modularizer.records import Decomposition, PatchedManifest, TrainedClassifier
from registry.aliases import Aliases
from registry.bundles.cache import BundleCache, cache_root
from registry.bundles.evidence import parse_evidence
from registry.bundles.manifest import EVIDENCE_FILE, AnyManifest, Kind
from registry.bundles.restoring import LoadedClassModule
from registry.checking import CheckReport, check
from registry.deleting import delete
from registry.diagnoses import DiagnosedVersion, StoredDiagnosis
from registry.errors import RegistryError
from registry.exchange import Exchange
from registry.loading import Loaded, Loader, PartSource, noun
from registry.naming import parse_address, require_name
from registry.registering import add_classifier, add_decomposition, add_patched
from registry.steps import StepCallback, ignore_step
from registry.store.client import Store, open_store, wrapped_errors
from registry.store.diagnoses import store_diagnosis, stored_diagnoses
from registry.store.runs import RunLog
from registry.store.versions import (
    get_version,
    list_made_from,
    list_versions,
    require_free_name,
)
from registry.version import Version

logger = logging.getLogger(__name__)


class Registry:
    """Strong, weak, class module and patched versions in an MLflow store.

    It is a `modularizer.records.ModelSink`. Each ``add_...`` is one MLflow run, and a version
    exists only when all of it is stored, read back and loaded.

    Args:
        store: an open store; `Registry.open` opens one.

    Attributes:
        aliases: moves them, and tells who did.
        exchange: takes versions to other registries, and in from them.

    Example:
        >>> registry = Registry.open("/srv/models")                     # doctest: +SKIP
        >>> registry.find("models:/digits-patched@champion").uri        # doctest: +SKIP
        'models:/digits-patched/2'
        >>> patched = registry.load_patched("models:/digits-patched/2")  # doctest: +SKIP
        >>> patched(images)                                             # doctest: +SKIP
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache = BundleCache(cache_root(store.home))
        self._loader = Loader(store, self._cache)
        self.aliases = Aliases(store, self._loader)
        self.exchange = Exchange(store, self._cache)

    @classmethod
    def open(
        cls,
        home: Path | str | None = None,
        *,
        on_step: StepCallback = ignore_step,
        must_exist: bool = False,
    ) -> Registry:
        """Open the registry, and create it where there is none yet.

        MLflow has settings for whole processes alone. Those of these that are not set are set:
        no telemetry (``MLFLOW_DISABLE_TELEMETRY``), no retries of its own, which may make things
        twice (``MLFLOW_HTTP_REQUEST_MAX_RETRIES``), less chatter.

        Args:
            home: a folder; None takes the server ``MLFLOW_TRACKING_URI`` if that is set, else
                the folder ``PATCHBAY_HOME``, else ``./.patchbay``.
            on_step: told of each step of registering and of moving an alias.
            must_exist: whether a folder without one is an error, for those who only read.

        Raises:
            StoreError: if it can't be opened or created.
        """
        return cls(open_store(home, on_step=on_step, must_exist=must_exist))

    @property
    def tracking_uri(self) -> str:
        """The store's address, as ``mlflow ui --backend-store-uri`` takes it."""
        return self._store.tracking_uri

    @property
    def is_current(self) -> bool:
        """Whether it still is what `open` would open: its database may be deleted or replaced."""
        return self._store.is_current

    @wrapped_errors("the registry")
    def versions(self, kind: Kind | None = None) -> list[Version]:
        """Every registered version, of one kind if that is given, by name and version."""
        return list_versions(self._store, kind)

    @wrapped_errors("the registry")
    def find(self, uri: str) -> Version:
        """The version that ``models:/name/3`` or ``models:/name@alias`` stands for now.

        Raises:
            AddressError: if it is no address.
            NotFoundError: if there is none; the message lists what there is.
        """
        return get_version(self._store, parse_address(uri))

    @wrapped_errors("the registry")
    def load(self, uri: str, *, parts: PartSource | None = None) -> Loaded:
        """Load a version of any kind; every byte is checked first, and nothing is executed.

        A patched model's weak model and class modules are loaded too, and must be exactly what
        they were when it was registered.

        Args:
            uri: its address.
            parts: where the parts of a patched model may be in memory already; None loads them.

        Raises:
            AddressError, NotFoundError: as `find`.
            BundleError: if what is stored is not what was registered.
        """
        return self._loader.load(self.find(uri), parts)

    @wrapped_errors("the registry")
    def load_part(self, uri: str, parts: PartSource) -> Classifier | ClassModule:
        """Load what can be a part of patched models into where those are kept; raises as `load`."""
        return self._loader.load_part(self.find(uri), parts)

    def load_classifier(self, uri: str) -> Classifier:
        """Load a strong or weak classifier; raises as `load`, or if it is another kind."""
        model = self.load(uri).model
        if not isinstance(model, Classifier):
            raise RegistryError(f"expected a strong or weak model at {uri}, found {noun(model)}")
        return model

    def load_class_module(self, uri: str) -> LoadedClassModule:
        """Load a class module; raises as `load`, or if it is another kind."""
        model = self.load(uri).model
        if not isinstance(model, LoadedClassModule):
            raise RegistryError(f"expected a class module at {uri}, found {noun(model)}")
        return model

    def load_patched(self, uri: str) -> PatchedClassifier:
        """Load a patched classifier; raises as `load`, or if it is another kind."""
        model = self.load(uri).model
        if not isinstance(model, PatchedClassifier):
            raise RegistryError(f"expected a patched model at {uri}, found {noun(model)}")
        return model

    @wrapped_errors("the registry")
    def manifest(self, uri: str) -> AnyManifest:
        """Everything stored with a version but its tensors; raises as `load`."""
        with self._loader.bundle(self.find(uri), files=()) as bundle:
            return bundle.manifest

    @wrapped_errors("the registry")
    def evidence(self, uri: str) -> Mapping[str, Any]:
        """The evidence stored with a version, empty if it has none; raises as `load`."""
        raw = self._loader.read(self.find(uri), EVIDENCE_FILE)
        return {} if raw is None else parse_evidence(raw)

    @wrapped_errors("the registry")
    def delete(self, uri: str, *, drop_aliases: bool = False, reason: str = "") -> Version:
        """Delete a version that nobody uses; gives what it was.

        Args:
            uri: the version's address.
            drop_aliases: take its aliases away first, on record.
            reason: in the words of who does it; for the record of the aliases.

        Raises:
            NotFoundError: if there is no such version.
            InUseError: if another version was made from it, or an alias stands for it.
        """
        return delete(self._store, parse_address(uri), drop_aliases=drop_aliases, reason=reason)

    @wrapped_errors("the registry")
    def check(
        self,
        *,
        clear: bool,
        load: bool = True,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> CheckReport:
        """Load every version from the store, and find what killed processes left behind.

        Args:
            clear: whether what was left behind is removed. Versions are never removed.
            load: whether versions are loaded; it takes a tenth of a second each.
            progress: told how many of how many versions were loaded.
        """
        return check(self._store, self._cache, clear=clear, load=load, progress=progress)

    @wrapped_errors("the registry")
    def used_by(self, version: Version | str) -> list[Version]:
        """The versions made from this one: a strong model's class modules, a part's patched models.

        Raises:
            NotFoundError: if an address is given and there is no such version.
        """
        target = self.find(version) if isinstance(version, str) else version
        found, unreadable = list_made_from(self._store, target)
        for one in unreadable:
            logger.warning("not listed: %s", one.reason)
        return found

    @wrapped_errors("the registry")
    def pictures(self, version: Version) -> list[str]:
        """The names of the pictures beside the run that made a version, sorted."""
        return RunLog(self._store, version.run_id).list_pictures()

    @wrapped_errors("the registry")
    def add_pictures(self, uri: str, pictures: Sequence[Path]) -> None:
        """Put pictures beside the run that made a version; the version itself stays as it is."""
        version = self.find(uri)
        RunLog(self._store, version.run_id).upload_pictures(pictures)

    @wrapped_errors("the registry")
    def add_diagnosis(self, record: DiagnosedVersion) -> str:
        """Store a diagnosis with its version, as an MLflow run of its own; gives the run's id.

        The version itself stays as it is.

        Raises:
            NotFoundError: if there is no such version.
            RegistryError: if it is a class module, or has other classes than the diagnosis.
        """
        version = self.find(record.uri)
        if version.kind == "class_module":
            raise RegistryError(f"{version.uri} scores one class alone and has no diagnosis")
        if version.class_names != record.diagnosis.class_names:
            raise RegistryError(
                f"{version.uri} has the classes {', '.join(version.class_names)}; found a "
                f"diagnosis of {', '.join(record.diagnosis.class_names)}"
            )
        return store_diagnosis(self._store, version, record)

    @wrapped_errors("the registry")
    def diagnoses(self, version: Version | str) -> list[StoredDiagnosis]:
        """The diagnoses that were stored with a version, the newest first.

        Raises:
            NotFoundError: if an address is given and there is no such version.
        """
        found = self.find(version) if isinstance(version, str) else version
        return stored_diagnoses(self._store, found)

    @wrapped_errors("the registry")
    def require_name_for(self, name: str, kind: Kind) -> None:
        """Refuse a name that a model of this kind can't have; ask before long work begins.

        Raises:
            AddressError: if the name is not a legal one.
            RegistryError: if the name belongs to models of another kind.
        """
        require_free_name(self._store, require_name(name), kind)

    @wrapped_errors("the registry")
    def add_classifier(self, record: TrainedClassifier) -> str:
        """Register a strong or weak classifier; see `registry.registering.add_classifier`."""
        return add_classifier(self._store, self._cache, record).uri

    @wrapped_errors("the registry")
    def add_decomposition(self, record: Decomposition, *, strong_uri: str) -> Sequence[str]:
        """Register a strong model's class modules; see `registry.registering.add_decomposition`."""
        strong = self.find(strong_uri)
        versions = add_decomposition(self._store, self._cache, record, strong)
        return [version.uri for version in versions]

    @wrapped_errors("the registry")
    def add_patched(self, record: PatchedManifest) -> str:
        """Register a patched classifier; see `registry.registering.add_patched`."""
        return add_patched(self._store, self._cache, self._loader, record).uri
