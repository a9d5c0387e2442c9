"""``python -m custom_components.apply``, as ``warpzoo apply`` was called before; it will go with the next version."""

from custom_components.commands.apply import main

if __name__ == "__main__":
    main()
