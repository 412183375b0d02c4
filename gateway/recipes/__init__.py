"""How providers sign and name what they send, as data, run forwards and backwards."""
