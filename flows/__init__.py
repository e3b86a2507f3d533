"""What runs: one short file per kind of agent, beside govern and evict."""
