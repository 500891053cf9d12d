"""Where requests leave: one shell per HTTP library, each applying what `heliconnect.outgoing` decides.

Importing this package imports no HTTP library. `install` patches those that are there, and those imported later.
"""
