"""Vendors: verifiers of what no recipe can say, one module each."""
