"""Images and labels, their sources, and the views that training sees of them."""
