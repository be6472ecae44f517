"""Snapshots and films: what recorders make and views draw."""
