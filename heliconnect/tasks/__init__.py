"""Task queues: the call context of who enqueued a task is in force while a worker runs it, by one line each.

Contexts travel beside the task's arguments, in the broker that the workers trust to run code anyway, unsigned. A worker
without the line ignores them.
"""
