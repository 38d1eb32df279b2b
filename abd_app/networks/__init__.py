"""The network architectures that teachers arrive in and students are built from."""
