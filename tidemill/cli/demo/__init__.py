"""The demonstration: real signed webhooks at a real broker, gateway and worker, each outcome explained."""
