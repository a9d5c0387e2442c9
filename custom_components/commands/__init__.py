"""The commands: what ``warpzoo`` and ``python -m custom_components.commands.X`` run."""
