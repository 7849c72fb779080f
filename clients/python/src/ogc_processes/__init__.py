"""A small client of OGC API - Processes.

from ogc_processes import Service

service = Service("http://127.0.0.1:5000")
job = service.process("echo").execute({"echo": "hello"}, wait=True)
print(job.result().json())
"""

from ogc_processes.errors import (
    Fault,
    JobDismissed,
    JobFailed,
    MissingExtra,
    NoAnswer,
    ProcessesError,
    RequestRefused,
    UnexpectedAnswer,
    WaitTimeout,
)
from ogc_processes.job import Job
from ogc_processes.process import Process
from ogc_processes.result import Result
from ogc_processes.service import Service

__all__ = [
    "Fault",
    "Job",
    "JobDismissed",
    "JobFailed",
    "MissingExtra",
    "NoAnswer",
    "Process",
    "ProcessesError",
    "RequestRefused",
    "Result",
    "Service",
    "UnexpectedAnswer",
    "WaitTimeout",
]
