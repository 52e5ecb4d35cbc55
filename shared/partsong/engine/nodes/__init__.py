"""Nodes: what each kind of node does next."""
