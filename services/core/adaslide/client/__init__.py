"""A client of the service: what an integrator asks over HTTP, as functions. Needs the extra ``api``."""

from adaslide.client.client import Client
from adaslide.client.records import Job, Package, Result, Slide

__all__ = ["Client", "Job", "Package", "Result", "Slide"]
