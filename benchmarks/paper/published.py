"""What CNNSplitter (ASE 2022) and GradSplitter (2023) report, to stand beside what is measured.

Gains are in fractions here, in points there. Tables of single classes are not repeated.
"""

from __future__ import annotations

GAINS = {
    "CNNSplitter, mean of 12 cells": {"precision": 0.1254, "recall": 0.0205, "f1": 0.0752},
    "CNNSplitter, by model": {
        "precision": 0.1457,
        "recall": 0.0298,
        "f1": 0.0908,
        "others": 0.0118,
    },
    "GradSplitter": {"precision": 0.1713, "recall": 0.0495, "f1": 0.1147},
}
"""Mean gains on the target class, and on the accuracy of the others."""

GAINS_BY_KIND = {
    "simple": {"precision": 0.0796, "recall": -0.0385, "f1": 0.0146},
    "underfitting": {"precision": 0.2021, "recall": 0.1152, "f1": 0.1778},
    "overfitting": {"precision": 0.0944, "recall": -0.0150, "f1": 0.0333},
}
"""CNNSplitter's, by kind of weak model."""

NETWORKS = {
    "simcnn": {"kernels": 4224, "parameters": 15_245_130, "multiply_adds": 313_730_000},
    "rescnn": {"kernels": 4288, "parameters": 16_010_122, "multiply_adds": 431_170_000},
}
"""CNNSplitter's strong networks, with ten outputs; multiply-adds are rounded to 10,000."""

MODULES = {
    "simcnn-cifar": {"kernels": 2617, "multiply_adds": 164_300_000},
    "simcnn-svhn": {"kernels": 2230, "multiply_adds": 107_800_000},
    "rescnn-cifar": {"kernels": 2498, "multiply_adds": 225_400_000},
    "rescnn-svhn": {"kernels": 2317, "multiply_adds": 142_100_000},
}
"""A class module of each decomposition, the mean of all; multiply-adds are rounded to 100,000."""

MODULE_MEANS = {"kernels": 0.5676, "multiply_adds": 1 - 0.570}
"""What is left of the strong network, in [0, 1], over the four; multiply-adds as "-57.0 %"."""

COMPOSED = {
    "simcnn-cifar": {"strong": 0.8977, "composed": 0.8607, "diff": 0.5277},
    "simcnn-svhn": {"strong": 0.9541, "composed": 0.9385, "diff": 0.6161},
    "rescnn-cifar": {"strong": 0.9041, "composed": 0.8564, "diff": 0.5648},
    "rescnn-svhn": {"strong": 0.9506, "composed": 0.9352, "diff": 0.6046},
}
"""CNNSplitter's decompositions, at full width."""


def module_shares(suite: str) -> dict[str, float]:
    """What a class module has of its strong network: ``kernels`` and ``multiply_adds``, in [0, 1].

    Args:
        suite: a key of `MODULES`.
    """
    whole = NETWORKS[suite.split("-")[0]]
    return {name: count / whole[name] for name, count in MODULES[suite].items()}
