"""The tables that jobs are kept in. Times are seconds since 1970, UTC."""

from __future__ import annotations

import sqlalchemy as sa

VERSION = 7
"""Of the tables. Each change of them needs a new one, and a step in `migrations.py`."""

metadata = sa.MetaData()

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)

job = sa.Table(
    "job",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("process", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False, index=True),
    sa.Column("updated", sa.Double, nullable=False),
    sa.Column("started", sa.Double),
    sa.Column("finished", sa.Double),
    sa.Column("wanted", sa.Text, nullable=False),
    sa.Column("result_name", sa.String(64)),  # among its maker's; null: the name is free again
    sa.Column("parallel_factor", sa.String(8), nullable=False),
    sa.Column("recycle_interval", sa.BigInteger, nullable=False),
    sa.Column("retries", sa.Integer, nullable=False),
    sa.Column("needs_gpu", sa.Boolean, nullable=False),
    sa.Column("subscriber", sa.Text),
    sa.Column("pace_key", sa.String(80)),
    sa.Column("plan", sa.Text),
    sa.Column("objects", sa.BigInteger),
    sa.Column("done", sa.BigInteger, nullable=False, default=0),
    sa.Column("result", sa.Text),
    sa.Column("summary", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("owner", sa.Text),  # the runner that works on it
    sa.Column("lease", sa.Double, nullable=False, default=0),  # until then it is the owner's
    sa.Column("fence", sa.Integer, nullable=False, default=0),
    sa.Column("has_files", sa.Boolean, nullable=False, default=True),
    sa.Column("is_expired", sa.Boolean, nullable=False, default=False),
    sa.Column("is_untidy", sa.Boolean, nullable=False, default=False, index=True),  # its files are to go
    sa.Column("is_dry_run", sa.Boolean, nullable=False, server_default=sa.false()),  # no job for anybody but its maker
    sa.Column("request_bytes", sa.BigInteger, nullable=False, server_default=sa.text("0")),  # its body's size
    sa.Column("due", sa.Double, nullable=False, server_default=sa.text("0")),  # before that it is not claimed
    sa.Column("is_layer", sa.Boolean, nullable=False, server_default=sa.false()),  # its result is one of features
    sa.Column("maker", sa.Text, nullable=False, server_default=""),  # empty: nobody had to say who they are
    # attempts that reported an error, and slot processes that ended in a row, of the steps that run alone
    sa.Column("begin_errors", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("begin_losses", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("finish_errors", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("finish_losses", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Index("job_by_status", "status", "created"),
    sa.Index("job_by_client", "client", "status"),
    sa.Index("job_by_end", "finished"),
    sa.Index("job_by_layer", "is_layer", "created"),
    sa.Index("job_by_maker", "maker", "created"),
    sa.Index("job_by_name", "maker", "result_name", unique=True),
)

request = sa.Table(
    "request",
    metadata,
    sa.Column("job", sa.String(36), primary_key=True),
    sa.Column("text", sa.Text, nullable=False),  # what may be shown of it
)

section = sa.Table(
    "section",
    metadata,
    sa.Column("job", sa.String(36), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("objects", sa.BigInteger, nullable=False),
    sa.Column("is_done", sa.Boolean, nullable=False, default=False),
    sa.Column("errors", sa.Integer, nullable=False, default=0),  # attempts that reported one
    sa.Column("losses", sa.Integer, nullable=False, default=0),  # slot processes that it ended, in a row
)

callback = sa.Table(
    "callback",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job", sa.String(36), nullable=False, index=True),
    sa.Column("event", sa.String(12), nullable=False),  # in-progress, success, failed
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False, server_default=""),  # of the url, with its port
    sa.Column("tries", sa.Integer, nullable=False, default=0),
    sa.Column("due", sa.Double, nullable=False),
    sa.Index("callback_by_host", "host", "due"),
)

share = sa.Table(
    "share",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("job", sa.String(36), nullable=False, index=True),
    sa.Column("digest", sa.String(64), nullable=False),  # SHA-256 of its secret
    sa.Column("created", sa.Double, nullable=False),
    sa.Index("share_by_digest", "digest", unique=True),
)

upload = sa.Table(  # where the files that a client has sent are counted
    "upload",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("client", sa.Text, nullable=False, index=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
)

runner = sa.Table(
    "runner",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("seen", sa.Double, nullable=False),  # when it last said that it works
    sa.Column("gpus", sa.Integer),  # slots with a GPU that it can use then; null: it does not know
    sa.Column("gpu_seen", sa.Double),  # when it last could use one
    sa.Column("gpu_missing", sa.Text),  # why it cannot
)

name_count = sa.Table(
    "name_count",
    metadata,
    sa.Column("maker", sa.Text, primary_key=True, server_default=""),
    sa.Column("stem", sa.String(64), primary_key=True),
    sa.Column("last", sa.Integer, nullable=False),
)

count = sa.Table(
    "count",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("label", sa.String(80), primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
)

token = sa.Table(
    "token",
    metadata,
    sa.Column("id", sa.String(12), primary_key=True),  # its public part
    sa.Column("name", sa.String(100), nullable=False, index=True),
    sa.Column("role", sa.String(10), nullable=False),
    sa.Column("salt", sa.String(32), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),  # of its secret, which is not kept
    sa.Column("made", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),  # null: never
    sa.Column("revoked", sa.Double),
)

session = sa.Table(
    "session",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),  # of what the browser's cookie holds, which is not kept
    sa.Column("token", sa.String(12)),  # with which somebody signed in; null: an issuer said who they are
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("role", sa.String(10), nullable=False),
    sa.Column("expires", sa.Double, nullable=False, index=True),
)
