"""For testing adapters, ours and strangers: the contract suite and a scripted provider."""
