"""What the papers compare with: published networks, the papers' experiments, and the comparison by its old name."""
