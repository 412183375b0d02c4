"""Schemes: how signatures are computed and checked, one module each."""
