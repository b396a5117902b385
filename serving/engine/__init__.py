"""Images to answers: batches, networks, scores."""
