"""The benchmark's resources on Stowage: the README's five steps, behind production settings."""
