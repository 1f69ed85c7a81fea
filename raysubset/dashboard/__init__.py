"""Watching searches while they run: their records digested as they grow, on a page and in a terminal."""
