"""The command ``iqagpt serve``."""
