"""Schema revisions. A released one never changes."""
