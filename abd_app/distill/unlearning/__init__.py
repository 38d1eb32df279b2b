"""Our Self-Retrospection: what a backdoor leads to is searched for, and a copy of the teacher unlearns it."""
