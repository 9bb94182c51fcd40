"""What lies between two reads of a tick, in as few passes over memory as it takes: Triton kernels for CUDA devices."""
