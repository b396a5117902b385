"""What is stored of a model, as a folder of plain files, and the way back to a network."""
