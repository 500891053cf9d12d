"""The steps from an empty file to today's tables, each applied once, in order, in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, inspect, select, text

from heliconnect.errors import StoreError
from heliconnect.store.tables import metadata, migrations, notes, removed, requests

__all__ = ["MIGRATIONS", "check", "migrate"]


def m001_first_tables(connection: Connection) -> None:
    """All tables of version 0.1."""
    metadata.create_all(connection)


def m002_notes(connection: Connection) -> None:
    """What is said of records and sessions afterwards."""
    notes.create(connection, checkfirst=True)


def m003_cache_references(connection: Connection) -> None:
    """Which record's answer was given again."""
    names = {column["name"] for column in inspect(connection).get_columns(requests.name)}
    if requests.c.cache_reference_id.name not in names:
        connection.execute(text(f"ALTER TABLE {requests.name} ADD COLUMN {requests.c.cache_reference_id.name} TEXT"))


def m004_removed(connection: Connection) -> None:
    """What removed records had counted."""
    removed.create(connection, checkfirst=True)


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    m001_first_tables,
    m002_notes,
    m003_cache_references,
    m004_removed,
)


def check(connection: Connection) -> None:
    """Raise StoreError when steps were not applied yet, for who cannot apply them."""
    applied: set[str] = set()
    if inspect(connection).has_table(migrations.name):
        applied = set(connection.execute(select(migrations.c.name)).scalars())
    if not applied >= {step.__name__ for step in MIGRATIONS}:
        raise StoreError("the store was written by an older heliconnect: `heliconnect up` brings it up to date")


def migrate(connection: Connection) -> list[str]:
    """Apply what is missing; gives the names of what was applied.

    Raises StoreError when the file was written by a newer version.
    """
    if not inspect(connection).has_table(migrations.name):
        migrations.create(connection)
        connection.commit()
    applied = set(connection.execute(select(migrations.c.name)).scalars())
    unknown = applied - {step.__name__ for step in MIGRATIONS}
    if unknown:
        raise StoreError(
            f"the store was written by a newer heliconnect (it knows {', '.join(sorted(unknown))}): "
            "pip install -U heliconnect, or choose another --data-dir"
        )
    connection.commit()
    done = []
    for step in MIGRATIONS:
        if step.__name__ not in applied:
            with connection.begin():
                step(connection)
                now = datetime.now(UTC).isoformat()
                connection.execute(migrations.insert().values(name=step.__name__, applied_at=now))
            done.append(step.__name__)
    return done
