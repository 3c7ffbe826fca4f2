"""Jobs that restore a file, and callers that are told how a job ended."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UNTOLD = sa.text("NOT told")


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("kind", sa.String(16), nullable=False, server_default="compress"))
    op.add_column("jobs", sa.Column("result", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("jobs", sa.Column("told", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_index("jobs_to_tell", "jobs", ["id"], sqlite_where=UNTOLD, postgresql_where=UNTOLD)


def downgrade() -> None:
    """Take back. Jobs that restore are left as they are: remove them first, the version before cannot
    read them."""
    op.drop_index("jobs_to_tell", "jobs")
    for column in ("told", "result", "kind"):
        with op.batch_alter_table("jobs") as jobs:
            jobs.drop_column(column)
