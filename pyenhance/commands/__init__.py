"""The subcommands of `pyenhance`, a module each with a function `add(commands)`."""
