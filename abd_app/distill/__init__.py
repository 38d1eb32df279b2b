"""The science: image sources, Shuffling Vaccine, Self-Retrospection, students and the loop that joins them."""
