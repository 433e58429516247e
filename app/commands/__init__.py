"""The commands of `outreach`, one group per file: each parses, calls one verb and prints."""
