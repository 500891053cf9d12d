"""The data plane: forwards, tees, spools, nothing else; a process of its own.

An asyncio Protocol towards the client, one towards the provider, a `Call` between them. Every head is taken apart by
`heads` and checked by llhttp as well; bodies are framed by us and pass through untouched. What is recorded is appended
to the spool when a call ends, however it ends.
"""
