"""Tenants, urgency, leases with fencing tokens, outbox, holds, and where packages lie."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAMES = {"uq": "%(table_name)s_%(column_0_name)s_key"}
"""As Postgres names what 0001 left unnamed."""
APPEND_ONLY = """
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$
"""


def _columns() -> dict[str, tuple[sa.Column[Any], ...]]:
    return {
        "slides": (
            sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
            sa.Column("hold", sa.JSON(none_as_null=True), nullable=True),
        ),
        "jobs": (
            sa.Column("tenant", sa.String(64), nullable=False, server_default="default"),
            sa.Column("urgency", sa.Integer(), nullable=False, server_default="1"),
            sa.Column("open", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("woken", sa.Float(), nullable=False, server_default="0"),
            sa.Column("swept", sa.Boolean(), nullable=False, server_default=sa.false()),
            sa.Column("callback_url", sa.String(2048), nullable=True),
        ),
        "shards": (
            sa.Column("token", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("holder", sa.String(64), nullable=True),
            sa.Column("lease_until", sa.Float(), nullable=False, server_default="0"),
            sa.Column("not_before", sa.Float(), nullable=False, server_default="0"),
        ),
        "packages": (
            sa.Column("location", sa.String(128), nullable=False, server_default=""),
            sa.Column("hold", sa.JSON(none_as_null=True), nullable=True),
        ),
    }


def upgrade() -> None:
    """Apply."""
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    with op.batch_alter_table("slides", naming_convention=NAMES) as slides:
        slides.drop_constraint("slides_alias_key", type_="unique")
        slides.create_unique_constraint("one_slide_per_alias", ["tenant", "alias"])
    op.create_index("slides_by_source", "slides", ["tenant", "sha256"])
    op.create_index("jobs_of_tenant", "jobs", ["tenant", "state"])
    op.create_index("shards_by_lease", "shards", ["finished", "lease_until"])
    # What was written before lies under its id alone; half-done jobs begin again.
    op.execute("UPDATE packages SET location = id || '.zarr'")
    op.execute("DELETE FROM shards WHERE job_id IN (SELECT id FROM jobs WHERE finished_at IS NULL)")
    op.execute("UPDATE jobs SET done = 0, total = 0 WHERE finished_at IS NULL")
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("task", sa.String(64), nullable=False),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
    )
    op.create_index("ix_outbox_due", "outbox", ["due"])
    op.create_table(
        "pulses",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("at", sa.Float(), nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(APPEND_ONLY)
        op.execute(
            "CREATE TRIGGER job_events_append_only BEFORE UPDATE OR DELETE ON job_events "
            "FOR EACH ROW EXECUTE FUNCTION append_only()"
        )


def downgrade() -> None:
    """Take back. Fails while two tenants use one alias: nothing may be lost unasked."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER job_events_append_only ON job_events")
        op.execute("DROP FUNCTION append_only()")
    for table in ("pulses", "outbox", "leases"):
        op.drop_table(table)
    op.drop_index("shards_by_lease", "shards")
    op.drop_index("jobs_of_tenant", "jobs")
    op.drop_index("slides_by_source", "slides")
    with op.batch_alter_table("slides") as slides:
        slides.drop_constraint("one_slide_per_alias", type_="unique")
        slides.create_unique_constraint("slides_alias_key", ["alias"])
    for table, columns in _columns().items():
        with op.batch_alter_table(table) as changed:
            for column in columns:
                changed.drop_column(column.name)
