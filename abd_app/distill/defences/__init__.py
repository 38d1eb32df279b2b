"""Defences that act while a student learns: bounds, vaccine, marks, and the published retrospection."""
