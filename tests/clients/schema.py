"""Requests made from the served OpenAPI document of the batch group by schemathesis, right and wrong ones, against a daemon:
the first argument is its kubeconfig. No answer blames the server, and each is what the document says.

Fails by its exit code. `python schema.py KUBECONFIG EXAMPLES` makes so many requests of each operation."""

import base64
import os
import subprocess
import sys
import tempfile

import requests
import yaml

# Of each operation, of right and of wrong data: in all some ten seconds.
EXAMPLES = "5"

POD = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:1.36", "command": ["true"]}]}}
THERE = [
    {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "there"}, "spec": {"suspend": True, "template": POD}},
    {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "there"},
        "spec": {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": POD}}},
    },
]

HOOKS = '''
import schemathesis

NAMES = {"namespace": "default", "name": "there"}


@schemathesis.hook
def map_query(context, query):
    """A watch has no end to wait for, and what is there stays."""
    query = {name: value for name, value in (query or {}).items() if name != "watch"}
    return {**query, "dryRun": "All"} if context.operation.method.lower() == "delete" else query


@schemathesis.hook
def map_path_parameters(context, parameters):
    """Mostly of what is there: of nothing there is only one answer. The generator says where, by what it made up."""
    return {name: value if len(str(value)) % 8 == 7 else NAMES[name] for name, value in (parameters or {}).items()}


@schemathesis.hook
def map_body(context, body):
    """Mostly an object of the kind in the address, or nothing of it would be read."""
    method, path = context.operation.method.lower(), context.operation.path
    if method not in ("post", "put", "patch") or not isinstance(body, dict) or len(body) % 4 == 3:
        return body
    metadata = body.get("metadata")
    metadata = {**metadata, "name": NAMES["name"]} if isinstance(metadata, dict) else {"name": NAMES["name"]}
    if method == "post":
        metadata = {"generateName": "made-"}
    return {**body, "apiVersion": "batch/v1", "kind": "CronJob" if "cronjobs" in path else "Job", "metadata": metadata}


@schemathesis.check
def blames_nobody(context, response, case):
    """As not_a_server_error, but for what upstream answers so, too."""
    if response.status_code < 500:
        return
    status = response.json()
    # A list of a revision to come is told to wait.
    if response.status_code == 504 and status["reason"] == "Timeout":
        return
    # A strategic patch that cannot be merged and an applied object of no type are answered without a reason.
    if case.method == "PATCH" and "reason" not in status and case.media_type in (
        "application/strategic-merge-patch+json", "application/apply-patch+yaml"
    ):
        return
    # A revision that a new object may not have, or that is no number, is refused by upstream's storage, without a reason.
    if case.method in ("POST", "PUT") and "reason" not in status and (
        status["message"] == "resourceVersion should not be set on objects to be created"
        or status["message"].startswith("strconv.ParseUint: parsing ")
    ):
        return
    raise AssertionError(response.text)
'''


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        config = yaml.safe_load(file)
    cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
    with tempfile.TemporaryDirectory() as home:
        for name, text in [("ca.pem", base64.b64decode(cluster["certificate-authority-data"])), ("hooks.py", HOOKS.encode())]:
            with open(os.path.join(home, name), "wb") as file:
                file.write(text)
        for thing in THERE:
            address = f"{cluster['server']}/apis/batch/v1/namespaces/default/{thing['kind'].lower()}s"
            headers = {"Authorization": f"Bearer {token}"}
            requests.post(address, json=thing, headers=headers, verify=os.path.join(home, "ca.pem"), timeout=60).raise_for_status()
        program = os.path.join(os.path.dirname(sys.executable), "st")
        done = subprocess.run(
            [
                program, "run", f"{cluster['server']}/openapi/v3/apis/batch/v1",
                "--header", f"Authorization:Bearer {token}", "--tls-verify", os.path.join(home, "ca.pem"),
                "--phases", "examples,fuzzing", "--max-examples", sys.argv[2] if len(sys.argv) > 2 else EXAMPLES,
                # The same requests each time: what is new is found by running it longer, by hand.
                "--generation-deterministic",
                "--checks", "blames_nobody,content_type_conformance,response_schema_conformance",
                "--suppress-health-check", "all", "--request-timeout", "60", "--continue-on-failure", "--no-color",
            ],
            cwd=home, env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": home}, check=False,
        )
    sys.exit(done.returncode)


main()
