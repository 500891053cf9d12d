"""The pages."""

from starlette.applications import Starlette


def create(store):
    return Starlette()
