"""What agents read: one file per form of source, bounded in size, as plain items. Nothing is executed or changed."""
