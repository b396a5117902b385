"""The networks that may be built, by name; the reference nets of the paper among them."""
