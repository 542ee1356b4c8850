"""Who may do how much: keys, and places at a deployment."""
