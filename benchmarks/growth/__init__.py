"""How time and memory grow with the number of modules, of registered versions and of classes."""
