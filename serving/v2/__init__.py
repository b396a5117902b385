"""The Open Inference Protocol (V2) as bytes: requests read, answers written; no routes."""
