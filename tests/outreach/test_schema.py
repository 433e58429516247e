import io
import re
from pathlib import Path

from alembic import command
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
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


def test_migrations_that_do_more_than_add_are_named_in_the_notes_on_upgrades() -> None:
    upgrades = (Path(__file__).parents[2] / "docs" / "operations.md").read_text().partition("## Upgrade")[2]
    notes = " ".join(line for line in upgrades.partition("\n## ")[0].splitlines() if line.startswith("| 0"))
    more = []
    for script in ScriptDirectory.from_config(migration_config()).walk_revisions():
        written = io.StringIO()
        context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written})
        with Operations.context(context):
            script.module.upgrade()
        if re.search(r"\b(DROP|RENAME|SET NOT NULL|SET STORAGE|TYPE)\b|^\s*(DELETE|UPDATE) ", written.getvalue(), re.M):
            more.append(script.revision)
    assert "0130" in more
    assert [revision for revision in more if not re.search(rf"\b{revision}\b", notes)] == []
