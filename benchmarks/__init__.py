"""How fast and how exact the activations are: ``benchmarks.speed`` and ``benchmarks.accuracy``."""
