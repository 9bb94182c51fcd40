"""The teacher of knowledge distillation: an ordinary feed-forward network, and the targets it leaves for a chip."""
