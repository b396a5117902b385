"""What the demo trains and searches; it mirrors the paper's SVHN recipe (section 5.2)."""

from __future__ import annotations

from modularizer.architectures.spec import ArchitectureSpec
from modularizer.rules import REPLACEMENTS, STACKINGS
from modularizer.settings import DecompositionSettings, TrainingSettings

SEED = 0
STRONG_NAME = "digits-strong"
ALIAS = "champion"

# The paper's thirteen layers can't be pooled five times on 8 x 8 pixels: three stages of two.
ARCHITECTURE = ArchitectureSpec(
    name="simcnn",
    arguments={
        "stages": [[16, 16], [32, 32], [64, 64]],
        "hidden": [64],
        "in_channels": 1,
        "input_size": 8,
    },
)
# The paper's learning rate and milestones. 360 images make few steps an epoch, so batches are
# smaller and epochs fewer: the strong model gets past .97 of its validation images in seconds.
TRAINING = TrainingSettings(epochs=40, batch_size=32, learning_rate=0.01, seed=SEED)
# What `patchbay patch --fusion auto` chooses from. A model that nothing helps is patched all the
# same, so that the table shows it.
RULES = (*REPLACEMENTS, *STACKINGS)
DECOMPOSITION = DecompositionSettings(candidates=20, parents=10, generations=40, seed=SEED)


def weak_name(target: str) -> str:
    """The registered name of the weak model with this target class."""
    return f"digits-weak-{target}"


def patched_name(target: str) -> str:
    """The registered name of that model with its patch."""
    return f"digits-patched-{target}"
