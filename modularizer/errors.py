"""The errors of this package: one root, one subclass for each thing a caller can put right."""


class ModularizerError(Exception):
    """Something that was asked of the modularizer can't be done; the message says what to do."""


class DataError(ModularizerError):
    """Images, labels or a data file are missing, broken or of the wrong kind."""


class ArchitectureError(ModularizerError):
    """An architecture is unknown, or its arguments don't fit."""


class PlanError(ModularizerError):
    """A network can't be sliced; the message names the layer and the reason."""


class DecodeError(ModularizerError):
    """A mask doesn't fit its plan, or a decoded network differs from the masked one."""


class CalibrationError(ModularizerError):
    """Scores can't be calibrated: there are none, they are not finite, or all are equal."""


class PatchError(ModularizerError):
    """A patch doesn't fit the weak model."""


class CheckpointError(ModularizerError):
    """A search can't go on from its checkpoint: it is broken, or of something else."""
