"""What the governor may do, one file per act."""
