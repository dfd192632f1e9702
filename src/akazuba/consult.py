"""The story of one consultation."""
