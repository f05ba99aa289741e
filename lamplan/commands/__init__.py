"""Commands of the command line that need more than a few lines: each module adds its own to the parser and runs them."""
