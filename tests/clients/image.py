"""Makes an image of this machine's Python and of the virtual environment that runs this script, with nothing pulled.

    python image.py NAME WHEELS [PROGRAM...]

It has the interpreter, its standard library, the environment and the programs, each at the path that it has here, and
the shared libraries that they load. `pip install` in it finds the files of the directory WHEELS, at /wheels, only.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile

LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "ensurepip", "site-packages"}
# Tk's library needs a display's, and nothing here does.
LEFT_OUT_FILES = ("_tkinter",)


def shared_libraries(files):
    """What the loader loads for these files."""
    said = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True).stdout
    return {pathlib.Path(path) for path in re.findall(r"(/\S+) \(0x", said)}


def files_below(root, left_out):
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if not left_out.intersection(inside.parts) and not path.name.startswith(LEFT_OUT_FILES):
            yield path


def links_to(path):
    """The chain of links that begins here."""
    while path.is_symlink():
        yield path
        path = path.parent / path.readlink()


def write(archive, wheels, programs):
    interpreter = pathlib.Path(sys.executable).resolve()
    library, environment = pathlib.Path(sysconfig.get_path("stdlib")), pathlib.Path(sys.prefix)
    files = [interpreter, *programs, *files_below(library, LEFT_OUT), *files_below(environment, set())]
    binaries = [path for path in files if path in (interpreter, *programs) or ".so" in path.name]
    # Each path once: the engine refuses an archive that has one twice.
    own = dict.fromkeys([*files, *links_to(pathlib.Path(sys.executable))])
    for path in own:
        archive.add(path, recursive=False)
    for path in sorted(shared_libraries(binaries) - own.keys()):
        archive.add(path.resolve(), arcname=path)
    archive.add(shutil.which("busybox"), arcname="/bin/busybox")
    for applet in subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet not in ("busybox", "bash"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    archive.add(wheels, arcname="/wheels")
    for name, mode in (("tmp", 0o1777), ("root", 0o700), ("etc", 0o755)):
        directory = tarfile.TarInfo(name)
        directory.type, directory.mode = tarfile.DIRTYPE, mode
        archive.addfile(directory)
    archive.add("/etc/passwd")


def main():
    name, wheels, *programs = sys.argv[1:]
    path = f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    variables = {"PATH": path, "HOME": "/root", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
    changes = [f"--change=ENV {key}={value}" for key, value in variables.items()]
    engine = subprocess.Popen(["docker", "import", *changes, "-", name], stdin=subprocess.PIPE)
    with tarfile.open(fileobj=engine.stdin, mode="w|") as archive:
        write(archive, wheels, [pathlib.Path(shutil.which(program)) for program in programs])
    engine.stdin.close()
    if engine.wait() != 0:
        sys.exit("the engine did not take the image")


main()
