"""The commands `classify-objects jobs …`: what operators see of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from processes.access.audit import AuditEvent, audit

if TYPE_CHECKING:
    from processes.jobs.intake import Intake


@click.group(invoke_without_command=True)
@click.pass_context
def jobs(context: click.Context) -> None:
    """List jobs, show one, dismiss one."""
    if context.invoked_subcommand is None:
        context.invoke(list_jobs)


@jobs.command("list")
@click.option("--status", "statuses", multiple=True, help="Only jobs of this status; may be repeated.")
@click.option("--limit", default=20, show_default=True, help="So many at most, the newest first.")
@click.pass_obj
def list_jobs(config: Path, statuses: tuple[str, ...] = (), limit: int = 20) -> None:
    """List jobs, the newest first."""
    from processes.jobs.store import JobFilter

    with _intake(config) as intake:
        for job in intake.store.find(JobFilter(statuses=statuses), limit, 0):
            created = f"{job.created:%Y-%m-%d %H:%M:%S}"
            click.echo(f"{job.id}  {created}  {job.status:<10} {job.progress:>3} %  {job.process}  {job.message}")


@jobs.command()
@click.argument("job_id")
@click.pass_obj
def show(config: Path, job_id: str) -> None:
    """Show all that is known of a job."""
    with _intake(config) as intake:
        job = intake.store.get(job_id)
        if job is None:
            raise click.ClickException(f"there is no job {job_id}")
        for name, value in job.described().items():
            click.echo(f"{name:<14} {value}")
        for section in intake.store.sections(job_id):
            state = "done" if section.is_done else f"{section.errors} errors, {section.losses} losses"
            click.echo(f"section {section.number:>6} {section.objects} objects, {state}")


@jobs.command()
@click.argument("job_id")
@click.pass_obj
def dismiss(config: Path, job_id: str) -> None:
    """Stop a job, or delete its results."""
    with _intake(config) as intake:
        try:
            dismissed = intake.dismiss(job_id)
        except KeyError as err:
            raise click.ClickException(f"there is no job {job_id}") from err
        if dismissed is not None:
            audit(AuditEvent.DISMISSAL, None, job=job_id)
        click.echo(f"{job_id} {'dismissed' if dismissed is not None else 'was dismissed before'}")


@contextmanager
def _intake(config: Path) -> Iterator[Intake]:
    """Yield the intake of the configured job store; report in one line what is wrong with it."""
    from processes.errors import ServiceError
    from processes.jobs.intake import Intake
    from processes.settings import load_settings

    with reported():
        intake = Intake(load_settings(config))
        try:
            yield intake
        except ServiceError as err:
            raise click.ClickException(err.detail) from err
        finally:
            intake.database.close()


@contextmanager
def reported() -> Iterator[None]:
    """Set up logs, and report in one line what is wrong with the configuration, or with what it names."""
    from processes.programs.logs import set_up_logs

    set_up_logs()
    try:
        yield
    except BrokenPipeError:
        raise  # nobody reads what the command says any more: it ends without a word
    except (ValueError, KeyError, OSError) as err:  # one of a job store is a ValueError
        raise click.ClickException(str(err)) from err
