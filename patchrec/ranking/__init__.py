"""Ranking: the title trie and exact search."""
