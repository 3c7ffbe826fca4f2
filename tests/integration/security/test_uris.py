"""Every URI that a caller may give: none leads to a file or a host that was not allowed."""

import pytest

from adaslide.domain.access import Role

HOSTILE = [
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "file:///proc/self/environ",
    "file:///dev/zero",
    "file://{root}/../secret.svs",
    "file://{root}/%2e%2e/secret.svs",
    "file://{root}/..%2fsecret.svs",
    "file://{root}/%252e%252e/secret.svs",
    "file://{root}/link.svs",
    "file://{root}/folder/secret.svs",
    "file://{root}2/secret.svs",
    "file://{root}",
    "file://127.0.0.1{root}/slide.svs",
    "file://{root}/slide.svs?x=1",
    "file://{root}/slide.svs#x",
    "file://{root}/slide.svs%00.tif",
    "FILE:{root}/../secret.svs",
    "//{canary}/slide.svs",
    "http://{canary}/slide.svs",
    "https://{canary}/slide.svs",
    "http://169.254.169.254/latest/meta-data/",
    "ftp://{canary}/slide.svs",
    "gopher://{canary}/_GET",
    "s3://elsewhere/slide.svs",
    "s3://elsewhere/../allowed/slide.svs",
    "dicomweb://{canary}/studies/1/series/2",
    "dicomweb+http://{canary}/studies/1/series/2",
    "jar:file://{root}/slide.svs!/x",
    "\\\\{canary}\\share\\slide.svs",
    "javascript:alert(1)",
    "",
]
CALLBACKS = [
    "http://{canary}/",
    "https://{canary}/",
    "http://localhost/",
    "http://[::1]/",
    "http://0x7f000001/",
    "http://169.254.169.254/latest/meta-data/",
    "file:///etc/passwd",
    "https://hooks.example@{canary}/",
    "https://{canary}#hooks.example",
    "https://{canary}\\@hooks.example/",
    "https://hooks.example.evil.example/",
    "https://evilhooks.example/",
    "https://hooks.example:port/",
    "https://hooks.example /",
    "https://[::ffff:127.0.0.1]/",
    "http://hooks.example/",
    "//hooks.example/",
    "",
]
WEBHOOKS = {"hosts": "hooks.example", "secret": "whsec_" + "A" * 32}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "allowed"
    root.mkdir()
    secret = tmp_path / "secret.svs"
    secret.write_bytes(b"the secret")
    (tmp_path / "allowed2").mkdir()
    (tmp_path / "allowed2" / "secret.svs").write_bytes(b"the secret")
    (root / "link.svs").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    return root


@pytest.fixture
def guarded(start, root):
    """A service that may read below ``root``, and somebody who may register."""
    guarded = start(allowed_roots=(root,))
    guarded.headers = {"X-Api-Key": guarded.api_key(Role.INTEGRATOR, Role.VIEWER)[0]}
    return guarded


def refused(answer):
    # 415: below a root, but no slide, such as the root itself.
    return answer.status_code in (404, 415, 422) and "secret" not in answer.text


@pytest.mark.parametrize("uri", HOSTILE)
def test_a_source_leads_nowhere_else(guarded, root, uri):
    source = {"uri": uri.format(root=root, canary=f"127.0.0.1:{guarded.provider.server.server_port}")}
    ask, headers = guarded.client, guarded.headers
    assert refused(ask.post("/slides", json=source, headers=headers))
    assert refused(ask.put("/slides/case", json=source, headers=headers))
    assert refused(ask.post("/slides/case/compress", json={"source": source}, headers=headers))
    assert ask.get("/slides", headers=headers).json()["items"] == []
    # The identity provider's server is a host like any other: nothing has knocked at it.
    assert guarded.provider.fetches == 0


@pytest.mark.parametrize("webhooks", [{}, WEBHOOKS], ids=["without webhooks", "with webhooks"])
@pytest.mark.parametrize("url", CALLBACKS)
def test_a_callback_leads_nowhere_else(start, two_packages, url, webhooks):
    guarded = start(webhooks=webhooks)
    guarded.hold(exact=two_packages["exact"])
    headers = {"X-Api-Key": guarded.api_key(Role.INTEGRATOR)[0]}
    body = {"callback_url": url.format(canary=f"127.0.0.1:{guarded.provider.server.server_port}")}
    for action in ("compress", "restore"):
        answer = guarded.client.post(f"/slides/{guarded.slide}/{action}", json=body, headers=headers)
        assert answer.status_code == 422
    assert guarded.provider.fetches == 0
    allowed = {"callback_url": "https://hooks.example/x?y=1"}
    answer = guarded.client.post(f"/slides/{guarded.slide}/restore", json=allowed, headers=headers)
    assert answer.status_code == (202 if webhooks else 422)


@pytest.mark.parametrize(
    "key",
    [
        "../zarr.json",
        "%2e%2e/zarr.json",
        "0/../../x",
        "..%2f..%2fadaslide.sqlite",
        "/etc/passwd",
        "%00",
        "0//c",
    ],
)
def test_a_packages_objects_end_at_its_folder(holding, key):
    headers = holding.bearer(Role.VIEWER)
    url = f"{holding.client.base_url}/slides/{holding.slide}/package/{key}"
    assert holding.client.get(url, headers=headers).status_code == 404


@pytest.mark.parametrize("package", ["../x", "..%2f..%2fsecret", "%00", "*"])
def test_a_packages_id_is_no_path(holding, package):
    answer = holding.client.get(
        f"/slides/{holding.slide}.dzi?package={package}", headers=holding.bearer(Role.VIEWER)
    )
    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["../main.py", "..%2fmain.py", "%2e%2e/main.py", "vendor/../../main.py"])
def test_static_files_end_at_their_folder(secured, path):
    assert secured.client.get(f"/static/{path}").status_code == 404
