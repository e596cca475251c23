"""The benchmark's tables as stock Django's models, for the peers that are built on it."""
