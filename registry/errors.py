"""The errors of this package: one root, one subclass for each thing a caller can put right."""


class RegistryError(Exception):
    """The registry can't do what was asked; the message says what to do."""


class AddressError(RegistryError):
    """An address, a name or an alias is not a legal one."""


class NotFoundError(RegistryError):
    """No such name, version or alias; the message lists what there is."""


class InUseError(RegistryError):
    """The version can't be deleted: the message names who uses it."""


class MovedError(RegistryError):
    """An alias was moved by others while what was to move it was being worked out."""


class BundleError(RegistryError):
    """A stored bundle is not what was registered, or is no bundle: nothing of it is used."""


class ArchiveError(RegistryError):
    """A file is no archive of versions, or can't be read or written."""


class StoreError(RegistryError):
    """The store can't be opened, read or written."""
