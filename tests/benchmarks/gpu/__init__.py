"""What a GPU is asked in one session: ``plan`` names the parts in their order, ``supervisor`` runs them, the others are
the parts.
"""
