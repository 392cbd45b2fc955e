"""The response cache: the same request is answered from memory, PostgreSQL or Redis. Off by default.

`provider` wraps a model, `key` says what "the same request" is, `answers` asks a cache
without ever waiting for it long, and the stores are LangChain caches like any other.
"""
