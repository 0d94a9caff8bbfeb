"""Judging images: their quality."""
