"""The rules of each kind, recomputed from the inputs on what a run really wrote."""
