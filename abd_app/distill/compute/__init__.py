"""How the work is laid on a device: precision, memory, recording, processes, optimisers."""
