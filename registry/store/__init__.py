"""MLflow, where bundles are kept; nothing outside this folder imports it."""
