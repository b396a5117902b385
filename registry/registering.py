"""What the pipeline made becomes versions: a training, a decomposition, a patch is one run."""

from __future__ import annotations

from modularizer.records import Decomposition, PatchedManifest, TrainedClassifier
from registry.adding import also, register
from registry.bundles.cache import BundleCache
from registry.entries import class_module_entry, classifier_entry, patched_entry
from registry.errors import RegistryError
from registry.loading import Loader
from registry.naming import parse_address, require_name
from registry.reports import upload_report_pictures
from registry.store.client import Store
from registry.store.runs import run_log
from registry.store.versions import get_version, require_free_name
from registry.telling import tell_of_decomposition, tell_of_patching, tell_of_training
from registry.version import Version


def add_classifier(store: Store, cache: BundleCache, record: TrainedClassifier) -> Version:
    """Register a strong or weak classifier.

    Raises:
        AddressError: if the name is not a legal one.
        RegistryError: if the name belongs to models of another kind.
        BundleError: if it can't be stored as it is (NaN in a tensor or a metric).
    """
    require_free_name(store, require_name(record.name), record.kind)
    entry = classifier_entry(record)
    with run_log(store, record.name, record.kind, "training") as run:
        run.log_origin(entry.manifest.origin)
        run.log_history(record.history, prefix="epoch/")
        [version] = register(run, [entry], parents=[], cache=cache)
        also(lambda: tell_of_training(run, entry, version))
    return version


def add_decomposition(
    store: Store, cache: BundleCache, record: Decomposition, strong: Version
) -> list[Version]:
    """Register every class module of a decomposition, in class order.

    Raises:
        NotFoundError: if the strong model was deleted meanwhile.
        RegistryError: if it is no strong or weak model, or has not these classes.
        BundleError: if a class module can't be stored as it is.
    """
    _require_classifier(strong)
    entries = [class_module_entry(record, part, strong) for part in record.classes]
    for entry in entries:
        require_free_name(store, require_name(entry.name), "class_module")
        if not set(entry.manifest.class_names) <= set(strong.class_names):
            raise RegistryError(
                f"{strong.uri} has the classes {', '.join(strong.class_names)}; found a class "
                f"module for {entry.manifest.class_names[0]!r}"
            )
    with run_log(store, record.name, "class_module", "decomposition") as run:
        if entries:
            run.log_origin(entries[0].manifest.origin)
        run.log_history(record.history, first_step=1, prefix="generation/")
        run.log_history(record.sensitivity, prefix="sensitivity/")
        run.log_metrics(record.metrics, step=len(record.history))
        versions = register(run, entries, parents=[strong], cache=cache)
        also(lambda: tell_of_decomposition(run, entries, strong, versions))
    if record.report is not None:
        upload_report_pictures(run, record.report)
    return versions


def add_patched(
    store: Store, cache: BundleCache, loader: Loader, record: PatchedManifest
) -> Version:
    """Register a patched classifier.

    Its parts are pinned to the versions, and the bytes, that the addresses stand for now.

    Raises:
        NotFoundError: if a part is not there.
        RegistryError: if a part is of the wrong kind, or a picture can't be read.
        BundleError: if the parts don't fit together, the store has lost the files of one, or a
            value can't be stored.
    """
    require_free_name(store, require_name(record.name), "patched")
    weak = get_version(store, parse_address(record.weak_uri))
    _require_classifier(weak)
    modules = [_class_module(store, patch.class_module_uri) for patch in record.patches]
    loader.require_stored(weak, *modules)
    entry = patched_entry(
        record,
        (weak, loader.classifier(weak)),
        [(one, loader.class_module(one)) for one in modules],
    )
    with run_log(store, record.name, "patched", "patching") as run:
        run.log_origin(entry.manifest.origin)
        [version] = register(run, [entry], parents=[weak, *modules], cache=cache)
        also(lambda: tell_of_patching(run, entry, weak, modules, version))
        run.upload_pictures(record.pictures)
    return version


def _require_classifier(version: Version) -> None:
    if version.kind not in ("strong", "weak"):
        raise RegistryError(
            f"expected a strong or weak model at {version.uri}, found {version.kind}"
        )


def _class_module(store: Store, uri: str) -> Version:
    version = get_version(store, parse_address(uri))
    if version.kind != "class_module":
        raise RegistryError(f"expected a class module at {uri}, found {version.kind}")
    return version
