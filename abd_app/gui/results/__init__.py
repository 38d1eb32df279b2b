"""Act three: the result, its files, the history, and two runs compared."""
