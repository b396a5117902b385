"""Bundles, lineage, aliases: strong, weak, class modules and patched models in MLflow."""
