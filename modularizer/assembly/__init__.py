"""From masks to models: slice, compose, calibrate, patch."""
