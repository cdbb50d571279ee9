"""One Typer command per DVC stage; run from the repository's root as ``python -m stages.NAME``."""
