"""heliconnect."""
