from alembic import command
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from outreach.schema import migration_config


def test_models_and_migrations_agree(rollback_engine: Engine) -> None:
    config = migration_config()
    with rollback_engine.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)


def test_message_ids_are_version_seven_and_rise(session: Session) -> None:
    ids = session.execute(text("SELECT new_message_id() FROM generate_series(1, 50)")).scalars().all()
    assert {found.version for found in ids} == {7}
    assert [found.int >> 80 for found in ids] == sorted(found.int >> 80 for found in ids)
