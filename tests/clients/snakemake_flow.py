"""A Snakemake workflow, unmodified, against a daemon with Docker: the first argument is its kubeconfig.

Fails by an exception. Each rule's job runs Snakemake in a pod, in an image that `image.py` makes of this machine's
Python. The files lie in a directory of this machine, which the pods see through a claim.
"""

import atexit
import os
import pathlib
import subprocess
import sys
import tempfile

from kubernetes import client, config

kubeconfig = pathlib.Path(sys.argv[1]).resolve()
config.load_kube_config(str(kubeconfig))
batch, core = client.BatchV1Api(), client.CoreV1Api()
binaries, here = pathlib.Path(sys.prefix, "bin"), pathlib.Path(__file__).parent
IMAGE = "jobdock-test/snakemake:1"
SNAKEFILE = """
rule all:
    input: "all.txt"

rule part:
    output: "part{n}.txt"
    shell: "echo {wildcards.n} > {output}"

rule join:
    input: expand("part{n}.txt", n=[1, 2])
    output: "all.txt"
    shell: "cat {input} > {output}"

rule fails:
    output: "never.txt"
    shell: "echo sorry; exit 3"
"""


def make_image(directory):
    wheels = directory / "wheels"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    frozen = directory / "frozen.txt"
    frozen.write_text(subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout)
    # Snakemake installs its storage plugin in each pod; there it finds only these files.
    download = ["download", "--dest", wheels, "--constraint", frozen, "snakemake-storage-plugin-fs"]
    subprocess.run([*pip, *download], check=True)
    subprocess.run([sys.executable, here / "image.py", IMAGE, wheels, "rsync", "bash"], check=True)
    # A pod may still be going, so by force; the next image has the same name.
    atexit.register(subprocess.run, ["docker", "image", "rm", "--force", IMAGE])


def claim(path):
    """A volume of this machine's directory, and its claim."""
    terms = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {**terms, "capacity": {"storage": "1Gi"}, "hostPath": {"path": str(path)}}
    core.create_persistent_volume({"metadata": {"name": "shared"}, "spec": volume})
    spec = {**terms, "volumeName": "shared", "resources": {"requests": {"storage": "1Gi"}}}
    core.create_namespaced_persistent_volume_claim("default", {"metadata": {"name": "shared"}, "spec": spec})


def snakemake(directory, shared, *targets):
    options = ["--executor", "kubernetes", "--jobs", "2", "--container-image", IMAGE]
    options += ["--kubernetes-persistent-volumes", f"shared:{shared}"]
    options += ["--default-storage-provider", "fs", "--default-storage-prefix", shared]
    options += ["--seconds-between-status-checks", "1"]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": f"{binaries}:{os.environ['PATH']}"}
    return subprocess.run(
        [binaries / "snakemake", *targets, *options],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


with tempfile.TemporaryDirectory() as name:
    root = pathlib.Path(name)
    flow, shared = root / "flow", root / "shared"
    flow.mkdir()
    shared.mkdir()
    make_image(root)
    (flow / "Snakefile").write_text(SNAKEFILE)
    claim(shared)

    run = snakemake(flow, shared)
    assert run.returncode == 0, run.stdout
    assert (shared / "all.txt").read_text() == "1\n2\n"
    assert run.stdout.count("Get status with: kubectl describe job") == 3, run.stdout

    # It leaves nothing: the Jobs, their pods and the run's secret are gone.
    assert not batch.list_namespaced_job("default").items
    assert not core.list_namespaced_secret("default").items

    # A rule that fails fails the run. Snakemake asks for the log of the container before the one that failed, and the
    # answer is that there was none, as on any cluster.
    run = snakemake(flow, shared, "fails")
    assert run.returncode != 0, run.stdout
    assert "previous terminated container" in run.stdout, run.stdout
    assert not (shared / "never.txt").exists()
