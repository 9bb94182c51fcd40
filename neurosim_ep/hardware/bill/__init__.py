"""The bill: how often each component acts, and what that costs in energy and time."""
