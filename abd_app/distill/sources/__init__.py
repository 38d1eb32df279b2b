"""Where synthetic images come from: the image sources, and what they are made of."""
