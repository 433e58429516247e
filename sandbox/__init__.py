"""A stand-in for the providers and help desks: the same wire on one local port, faults on demand, a durable record."""
