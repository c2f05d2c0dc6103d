"""Alembic's migrations, a file each in ``versions``. A released one is never changed; another one follows it."""
