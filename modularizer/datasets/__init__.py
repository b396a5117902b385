"""Images with labels: recipes, files, and seeded splits."""
