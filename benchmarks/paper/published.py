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

COMPOSED = {
    "simcnn-cifar": {"strong": 0.8977, "composed": 0.8607, "diff": 0.5277, "kernels": 2617 / 4224},
    "simcnn-svhn": {"strong": 0.9541, "composed": 0.9385, "diff": 0.6161, "kernels": 2230 / 4224},
    "rescnn-cifar": {"strong": 0.9041, "composed": 0.8564, "diff": 0.5648, "kernels": 2498 / 4288},
    "rescnn-svhn": {"strong": 0.9506, "composed": 0.9352, "diff": 0.6046, "kernels": 2317 / 4288},
}
"""CNNSplitter's decompositions, at full width."""
