"""When each job that beat rings for last came to a good end."""

from datetime import datetime

from sqlalchemy import BigInteger

from outreach.models.base import Base, Mapped, mapped_column


class PeriodicRun(Base):
    """The newest good end of one job, and the memory of the process that did it."""

    __tablename__ = "periodic_runs"

    job: Mapped[str] = mapped_column(primary_key=True)
    succeeded_at: Mapped[datetime]
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
