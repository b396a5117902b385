"""Ways from a class module's raw score to one that a weak model's scores can be compared with."""
