"""What a policy means for traffic and attacks: simulate, costs, coverage, cases, suggest. No files, no engines."""
