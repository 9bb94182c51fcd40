"""The event scheduler: phases on integer ticks, the order of updates inside a tick, and exact counters."""
