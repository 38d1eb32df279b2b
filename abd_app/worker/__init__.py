"""An audit in its own process: the engine child, its pipe and its jobs. Knows no Qt."""
