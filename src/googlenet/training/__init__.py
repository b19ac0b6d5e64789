"""From labelled images to a bundle. Needs torch; may import every room but serving and cli."""
