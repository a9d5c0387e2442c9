"""``python -m custom_components.view``, as ``warpzoo view`` was called before; it will go with the next version."""

from custom_components.commands.view import main

if __name__ == "__main__":
    main()
