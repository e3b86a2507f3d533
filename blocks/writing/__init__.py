"""What agents leave behind: whole files in `out/`, with where they came from, and safe to show."""
