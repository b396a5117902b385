"""The registry: models go in as records and come out as classifiers that run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modularizer.assembly.patched import PatchedClassifier
from modularizer.classifier import Classifier
from modularizer.records import Decomposition, PatchedManifest, TrainedClassifier
from registry.adding import also, register
from registry.aliases import Aliases
from registry.bundles.cache import BundleCache, cache_root
from registry.bundles.manifest import EVIDENCE_FILE, AnyManifest, Kind
from registry.bundles.restoring import LoadedClassModule
from registry.bundles.strict_json import parse_strict_json
from registry.checking import CheckReport, check
from registry.deleting import delete, require_unused
from registry.diagnoses import DiagnosedVersion, StoredDiagnosis
from registry.entries import class_module_entry, classifier_entry, patched_entry
from registry.errors import BundleError, RegistryError
from registry.exchange import Exchanged, export_version, import_archive
from registry.history import Move
from registry.loading import Loaded, Loader, noun
from registry.naming import parse_address, require_name
from registry.reports import upload_report_pictures
from registry.steps import StepCallback, ignore_step
from registry.store.client import Store, open_store, wrapped_errors
from registry.store.diagnoses import store_diagnosis, stored_diagnoses
from registry.store.pyfunc_export import ARCHIVE_FILE, save_pyfunc
from registry.store.runs import RunLog, run_log
from registry.store.versions import (
    get_version,
    list_made_from,
    list_versions,
    require_free_name,
)
from registry.telling import tell_of_decomposition, tell_of_patching, tell_of_training
from registry.version import UnreadVersion, Version


class Registry:
    """Strong, weak, class module and patched versions in an MLflow store.

    It is a `modularizer.records.ModelSink`. Each ``add_...`` is one MLflow run, and a version
    exists only when all of it is stored, read back and loaded.

    Args:
        store: an open store; `Registry.open` opens one.

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
        self._aliases = Aliases(store, self._loader)

    @classmethod
    def open(
        cls, home: Path | str | None = None, *, on_step: StepCallback = ignore_step
    ) -> Registry:
        """Open the registry, and create it where there is none yet.

        Args:
            home: a folder; None takes the server ``MLFLOW_TRACKING_URI`` if that is set, else
                the folder ``PATCHBAY_HOME``, else ``./.patchbay``.
            on_step: told of each step of registering and of moving an alias.

        Raises:
            StoreError: if it can't be opened or created.
        """
        return cls(open_store(home, on_step=on_step))

    @property
    def tracking_uri(self) -> str:
        """The store's address, as ``mlflow ui --backend-store-uri`` takes it."""
        return self._store.tracking_uri

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
    def load(self, uri: str) -> Loaded:
        """Load a version of any kind; every byte is checked first, and nothing is executed.

        A patched model's weak model and class modules are loaded too, and must be exactly what
        they were when it was registered.

        Raises:
            AddressError, NotFoundError: as `find`.
            BundleError: if what is stored is not what was registered.
        """
        return self._loader.load(self.find(uri))

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
        if raw is None:
            return {}
        found = parse_strict_json(raw, EVIDENCE_FILE)
        if not isinstance(found, dict):
            raise BundleError(f"expected {EVIDENCE_FILE} to hold a table, found another value")
        return found

    @wrapped_errors("the registry")
    def promote(
        self,
        uri: str,
        alias: str,
        *,
        reason: str = "",
        forced: bool = False,
        verdict: Mapping[str, Any] | None = None,
    ) -> Version | UnreadVersion | None:
        """Point an alias at a version; gives the version that it pointed at before, or None.

        The version is loaded first, with all its parts: an alias never comes to stand for one
        that can't be used. The move is an MLflow run, which `history` reads.

        Args:
            uri: the version's address.
            alias: to move, or to make.
            reason: in the words of who does it.
            forced: whether a gate's refusal is overruled.
            verdict: the gate's, as JSON values.

        Raises:
            AddressError: if the alias is not a legal one.
            NotFoundError: if there is no such version.
            BundleError: if it, or a part of it, is not what was registered.
        """
        return self._aliases.promote(
            self.find(uri), alias, reason=reason, forced=forced, verdict=verdict
        )

    @wrapped_errors("the registry")
    def standing(self, name: str, alias: str) -> Version | UnreadVersion | None:
        """The version that an alias stands for, or None if it stands for none that is there."""
        return self._aliases.standing(name, alias)

    @wrapped_errors("the registry")
    def rollback(
        self, name: str, alias: str, *, reason: str = ""
    ) -> tuple[Version | UnreadVersion, Version]:
        """Point an alias at the version that it stood for before; gives where from, and where to.

        Once more goes back once more.

        Raises:
            AddressError, NotFoundError: if there is no such alias.
            RegistryError: if there is nothing to go back to that loads.
        """
        return self._aliases.rollback(name, alias, reason=reason)

    @wrapped_errors("the registry")
    def history(self, name: str, alias: str | None = None) -> list[Move]:
        """Who moved a name's aliases when, why and by which evidence, the oldest move first."""
        return self._aliases.history(name, alias)

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
        version = self.find(uri)
        users = self.used_by(version)
        if drop_aliases and not users:
            for alias in version.aliases:
                self._aliases.remove(version, alias, reason=reason)
            version = replace(version, aliases=())
        require_unused(version, users)
        delete(self._store, version)
        return version

    @wrapped_errors("the registry")
    def export_version(
        self, uri: str, target: Path, *, with_strong: bool = False
    ) -> list[Exchanged]:
        """Write a version and all that it needs into one file, an archive.

        Args:
            uri: the version's address.
            target: the file, replaced whole if it is there.
            with_strong: also the strong models that class modules were taken from.

        Raises:
            NotFoundError: if there is no such version, or a part of it is gone.
            BundleError: if what is stored is not what was registered.
            ArchiveError: if the file can't be written.
        """
        version = self.find(uri)
        return export_version(self._store, self._loader, version, target, with_strong=with_strong)

    @wrapped_errors("the registry")
    def export_pyfunc(
        self, uri: str, target: Path, *, loader: str, columns: dict[str, str]
    ) -> list[Exchanged]:
        """Write a folder that MLflow scores with: an archive, and the name of what loads it.

        Args:
            uri: the version's address.
            target: the folder; it must not be there yet.
            loader: the module with ``_load_pyfunc``; it is named and not stored.
            columns: of the answers, name to type in MLflow's words.

        Raises:
            NotFoundError, BundleError: as `export_version`.
            ArchiveError: if the folder is there already, or can't be written.
        """
        with self._cache.scratch() as scratch:
            archive = scratch / ARCHIVE_FILE
            exported = self.export_version(uri, archive)
            save_pyfunc(archive, target, loader=loader, columns=columns)
        return exported

    @wrapped_errors("the registry")
    def import_archive(self, path: Path) -> list[Exchanged]:
        """Register what an archive holds; what is here already is not registered again.

        Raises:
            ArchiveError: if the file is no archive, or what it holds is not what it says.
            RegistryError: if a name belongs to models of another kind.
            BundleError: if a version does not load.
        """
        return import_archive(self._store, self._loader, self._cache, path)

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
        return list_made_from(self._store, target)

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
        """Register a strong or weak classifier; gives its address, ``models:/name/version``.

        Raises:
            AddressError: if the name is not a legal one.
            RegistryError: if the name belongs to models of another kind.
            BundleError: if it can't be stored as it is (NaN in a tensor or a metric).
        """
        self.require_name_for(record.name, record.kind)
        entry = classifier_entry(record)
        with run_log(self._store, record.name, record.kind, "training") as run:
            run.log_origin(entry.manifest.origin)
            run.log_history(record.history, prefix="epoch/")
            [version] = register(run, [entry], parents=[], cache=self._cache)
            also(lambda: tell_of_training(run, entry, version))
        return version.uri

    @wrapped_errors("the registry")
    def add_decomposition(self, record: Decomposition, *, strong_uri: str) -> Sequence[str]:
        """Register every class module of a decomposition; gives their addresses in class order.

        Raises:
            NotFoundError: if there is no such strong model.
            RegistryError: if it is no strong or weak model, or has not these classes.
            BundleError: if a class module can't be stored as it is.
        """
        strong = self._classifier_version(strong_uri)
        entries = [class_module_entry(record, part, strong) for part in record.classes]
        for entry in entries:
            self.require_name_for(entry.name, "class_module")
            if not set(entry.manifest.class_names) <= set(strong.class_names):
                raise RegistryError(
                    f"{strong.uri} has the classes {', '.join(strong.class_names)}; found a class "
                    f"module for {entry.manifest.class_names[0]!r}"
                )
        with run_log(self._store, record.name, "class_module", "decomposition") as run:
            if entries:
                run.log_origin(entries[0].manifest.origin)
            run.log_history(record.history, first_step=1, prefix="generation/")
            run.log_history(record.sensitivity, prefix="sensitivity/")
            run.log_metrics(record.metrics, step=len(record.history))
            versions = register(run, entries, parents=[strong.model_id], cache=self._cache)
            also(lambda: tell_of_decomposition(run, entries, strong, versions))
        if record.report is not None:
            upload_report_pictures(run, record.report)
        return [version.uri for version in versions]

    @wrapped_errors("the registry")
    def add_patched(self, record: PatchedManifest) -> str:
        """Register a patched classifier; gives its address.

        Its parts are pinned to the versions, and the bytes, that the addresses stand for now.

        Raises:
            NotFoundError: if a part is not there.
            RegistryError: if a part is of the wrong kind, or a picture can't be read.
            BundleError: if the parts don't fit together or a value can't be stored.
        """
        self.require_name_for(record.name, "patched")
        weak = self._classifier_version(record.weak_uri)
        modules = [self._class_module_version(patch.class_module_uri) for patch in record.patches]
        entry = patched_entry(
            record,
            (weak, self._loader.classifier(weak)),
            [(one, self._loader.class_module(one)) for one in modules],
        )
        with run_log(self._store, record.name, "patched", "patching") as run:
            run.log_origin(entry.manifest.origin)
            parents = [part.model_id for part in (weak, *modules)]
            [version] = register(run, [entry], parents=parents, cache=self._cache)
            also(lambda: tell_of_patching(run, entry, weak, modules, version))
            run.upload_pictures(record.pictures)
        return version.uri

    def _classifier_version(self, uri: str) -> Version:
        version = self.find(uri)
        if version.kind not in ("strong", "weak"):
            raise RegistryError(f"expected a strong or weak model at {uri}, found {version.kind}")
        return version

    def _class_module_version(self, uri: str) -> Version:
        version = self.find(uri)
        if version.kind != "class_module":
            raise RegistryError(f"expected a class module at {uri}, found {version.kind}")
        return version
