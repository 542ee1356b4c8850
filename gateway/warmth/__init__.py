"""What keeps a deployment warm and what that costs: replays without I/O, on a virtual clock."""
