"""The service under load, over HTTP on loopback, beside its peers."""
