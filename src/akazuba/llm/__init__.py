"""Knows how the box is put into words: a language model that words what the rest decided and decides
nothing.
"""
