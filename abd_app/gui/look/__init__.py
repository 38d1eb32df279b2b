"""What the window is made of: theme, icons, surfaces, labels, fields, words."""
