"""A secured service and a real identity provider's key server, as tests hold them."""

import json
import shutil
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import jwt
import uvicorn
from fastapi.routing import iter_route_contexts

from adaslide.adapters.db.ids import new_id
from adaslide.domain.api_key import ApiKey
from adaslide.domain.job import JobState
from adaslide.ports.jobs import CompressRequest, JobRecord, PackageRecord, SlideRecord
from adaslide.ports.security import ApiKeyRecord, AuditFilter
from adaslide_api.access import Requirement

AUDIENCE, ISSUER = "adaslide", "https://id.example/realms/north"
TENANT = "north"
TOKEN_KEYS = ("first-" + "k" * 32, "second-" + "k" * 32)


class IdentityProvider:
    """Publishes its keys over HTTP and signs tokens with them. ``broken`` answers 500 instead."""

    def __init__(self, private):
        self.private = private
        self.published = dict(private)
        self.fetches, self.broken = 0, False
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.fetches += 1
                body = json.dumps({"keys": provider.keys()}).encode()
                self.send_response(500 if provider.broken else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def keys(self):
        return [self.public(name) for name in self.published]

    def public(self, name):
        """The public key ``name`` as a JWK."""
        kind = "RSA" if name.startswith("rsa") else "EC"
        algorithm = jwt.get_algorithm_by_name("RS256" if kind == "RSA" else "ES256")
        key = algorithm.to_jwk(self.published[name].public_key(), as_dict=True)
        return key | {"kid": name, "use": "sig", "alg": "RS256" if kind == "RSA" else "ES256"}

    def claims(self, *roles, **changes):
        now = datetime.now(UTC)
        given = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "jane",
            "iat": now,
            "exp": now + timedelta(minutes=5),
            "tenant": TENANT,
            "roles": [str(role) for role in roles],
        }
        return {name: value for name, value in (given | changes).items() if value is not None}

    def token(self, *roles, kid="rsa-1", headers=None, **changes):
        """A signed token; a claim that is None is left out."""
        algorithm = "RS256" if kid.startswith("rsa") else "ES256"
        return jwt.encode(
            self.claims(*roles, **changes),
            self.private[kid],
            algorithm,
            headers={"kid": kid} | (headers or {}),
        )

    def close(self):
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@contextmanager
def served(app):
    """A client of ``app``, which listens on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
            yield client
        server.should_exit = True
        thread.join()


@dataclass
class Secured:
    """The service: ``client`` talks to it, ``app`` is it, the ids are what it holds."""

    app: object
    client: httpx.Client
    provider: IdentityProvider
    slide: str = ""
    job: str = ""
    packages: dict = field(default_factory=dict)

    @property
    def database(self):
        return self.app.state.services.backend.database

    def bearer(self, *roles, **changes):
        """The header of somebody with these roles."""
        return {"Authorization": f"Bearer {self.provider.token(*roles, **changes)}"}

    def api_key(self, *roles, tenant=TENANT, ends=None):
        """(its text, its id) of a new API key."""
        key = ApiKey.new(new_id())
        record = ApiKeyRecord(key.id, tenant, frozenset(roles), key.digest, datetime.now(UTC), ends)
        with self.database.write() as unit:
            unit.api_keys.add(record)
        return key.text, key.id

    def audit(self, **wanted):
        """The records, oldest first."""
        with self.database.read() as unit:
            return unit.audit.oldest(AuditFilter(**wanted), 1000)

    def hold(self, tenant=TENANT, **packages):
        """Gives the service a slide with these packages, each (path, totals), the last one the newest."""
        now = datetime.now(UTC)
        slide = SlideRecord(new_id(), "Jane Doe", "source.tif", True, {"mpp": 0.499}, "0" * 64, now, tenant)
        self.slide = slide.id
        with self.database.write() as unit:
            unit.slides.add(slide)
            for age, (name, (path, totals)) in enumerate(packages.items()):
                self._finish(unit, slide, CompressRequest(name), totals, now + timedelta(seconds=age))
                self.packages[name] = unit.jobs.get(self.job).package_id
                folder = (
                    self.app.state.services.backend.settings.data_dir
                    / "packages"
                    / f"{self.packages[name]}.zarr"
                )
                shutil.copytree(path, folder)

    def _finish(self, unit, slide, request, totals, at):
        """A job and the package that it made."""
        job = JobRecord(
            new_id(),
            slide.id,
            new_id(),
            request,
            JobState.QUEUED,
            0,
            0,
            0,
            None,
            0.0,
            0,
            at,
            None,
            None,
            slide.tenant,
        )
        unit.jobs.add(job)
        for state in (JobState.RUNNING, JobState.VERIFYING, JobState.SUCCEEDED):
            assert unit.jobs.transition(job.id, state)
        place = f"{job.package_id}.zarr"
        unit.packages.add(PackageRecord(job.package_id, slide.id, job.id, request, totals, at, place))
        self.job = job.id


@dataclass(frozen=True)
class Call:
    """One route of the app and how to call it. ``requirement`` is what it declares, None nothing."""

    method: str
    path: str
    url: str
    requirement: Requirement | None

    @property
    def public(self):
        return self.requirement is not None and not self.requirement.roles


def calls(secured):
    """Every route of the app but the static files, with ids of what ``secured`` holds.

    For further checks of every route: `answers(secured, headers)` is what somebody gets.
    """
    values = {
        "key": secured.slide or new_id(),
        "job_id": secured.job or new_id(),
        "package_id": next(iter(secured.packages.values()), new_id()),
        "level": "0",
        "name": "0_0.png",
        "layer": "rung",
        "row": "0",
        "col": "0",
        "path:path": "zarr.json",
        "code": "not-found",
        "upload_id": new_id(),
    }
    found = []
    for route in iter_route_contexts(secured.app.routes):
        if not route.methods:
            assert route.path == "/static"
            continue
        url = route.path
        for name, value in values.items():
            url = url.replace(f"{{{name}}}", value)
        url += "?x=0&y=0&w=8&h=8" if url.endswith("/region") else ""
        assert "{" not in url, f"say what stands in {route.path}"
        declared = [d.call for d in route.dependant.dependencies if isinstance(d.call, Requirement)]
        found += [Call(m, route.path, url, declared[0] if declared else None) for m in route.methods]
    return found


def answers(secured, headers, chosen=lambda call: not call.public):
    """{(method, path): response} of every chosen call, made with ``headers``."""
    return {
        (call.method, call.path): secured.client.request(call.method, call.url, headers=headers)
        for call in calls(secured)
        if chosen(call)
    }
