"""`DATABASES["default"]["ENGINE"]`: Django's PostgreSQL backend, with psycopg once it connects."""
