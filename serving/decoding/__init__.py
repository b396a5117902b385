"""The bytes of a request to uint8 images."""
