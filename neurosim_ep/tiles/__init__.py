"""Where synapses lie: connection matrices cut into crossbar tiles."""
