# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake confidential VM of the ssh door: own mounts, process ids and names over the machine's own root, with sshd.

The root is an overlay whose upper layer is memory, so nothing a host writes reaches the machine's disk. The lab's own
files, other people's homes and temporary folders are covered. Needs root; needs no container engine.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from . import netns

SSHD_CONFIG = """\
Port 22
ListenAddress {address}
HostKey /etc/ssh/lab_host_key
AuthorizedKeysFile /etc/ssh/lab_authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes no
PidFile none
MaxStartups 100:30:200
Subsystem sftp internal-sftp
AcceptEnv LANG LC_*
"""

# Runs inside the new namespaces; every variable is set by Host.start. The last line becomes sshd.
SCRIPT = """\
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=0755 skrsim "$BASE"
mkdir -p "$BASE/upper/etc/ssh" "$BASE/upper/etc/ssl/certs" "$BASE/work" "$BASE/root"
cp "$FILES/hosts" "$FILES/hostname" "$FILES/machine-id" "$FILES/resolv.conf" "$FILES/passwd" "$FILES/group" "$BASE/upper/etc/"
cp "$FILES/sshd_config" "$BASE/upper/etc/ssh/lab_sshd_config"
cp "$FILES/host_key" "$BASE/upper/etc/ssh/lab_host_key"
chmod 0600 "$BASE/upper/etc/ssh/lab_host_key"
cp "$FILES/authorized_keys" "$BASE/upper/etc/ssh/lab_authorized_keys"
cp "$BUNDLE" "$BASE/upper/etc/ssl/certs/ca-certificates.crt"
cp "$AUTHORITY" "$BASE/upper/etc/ssl/certs/"
cp "$FILES/hardware_roots.pem" "$BASE/upper/etc/ssl/skrsim-hardware-roots.pem"
R="$BASE/root"
mount -t overlay -o "lowerdir=/,upperdir=$BASE/upper,workdir=$BASE/work" skrsim "$R"
mount -t proc proc "$R/proc"
mount -t tmpfs -o mode=0755 skrsim "$R/sys"
mkdir -p "$R/sys/kernel/security/tpm0"
cp "$FILES/event_log" "$R/sys/kernel/security/tpm0/binary_bios_measurements"
chmod 0440 "$R/sys/kernel/security/tpm0/binary_bios_measurements"
mount -t tmpfs -o mode=0755 skrsim "$R/dev"
for node in null zero full random urandom tty; do touch "$R/dev/$node"; mount --bind "/dev/$node" "$R/dev/$node"; done
mkdir "$R/dev/pts" "$R/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$R/dev/pts"
ln -s pts/ptmx "$R/dev/ptmx"
ln -s /proc/self/fd "$R/dev/fd"
ln -s fd/0 "$R/dev/stdin"; ln -s fd/1 "$R/dev/stdout"; ln -s fd/2 "$R/dev/stderr"
mount -t tmpfs -o mode=1777 skrsim "$R/dev/shm"
for device in tpm0 tpmrm0; do
  if [ -e "$DEVICES/$device" ]; then touch "$R/dev/$device"; mount --bind "$DEVICES/$device" "$R/dev/$device"; fi
done
for path in $VISIBLE; do mkdir -p "$BASE/keep$path"; mount --bind "$path" "$BASE/keep$path"; done
for path in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 skrsim "$R$path"; done
for path in /run /home $COVER; do if [ -d "$R$path" ]; then mount -t tmpfs -o mode=0755 skrsim "$R$path"; fi; done
mount -t tmpfs -o mode=0700 skrsim "$R/root"
mkdir -p "$R/run/sshd"
for path in $VISIBLE; do
  mkdir -p "$R$path"; mount --bind "$BASE/keep$path" "$R$path"; mount -o remount,bind,ro "$R$path"
done
for path in $OPEN; do chmod 0755 "$R$path"; done
hostname "$NAME"
exec chroot "$R" /usr/sbin/sshd -D -e -f /etc/ssh/lab_sshd_config
"""


# Folders of a host that a boot empties.
MEMORY = ("/run", "/dev/shm", "/tmp", "/var/tmp")


def empty(folder: Path, keep: tuple[str, ...] = ()) -> None:
    """Remove what is in a folder, which may be missing; mount points stay."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name in keep or path.is_mount():
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def interpreter() -> tuple[str, list[str]]:
    """The Python that guests use, and the folders that must stay visible for it.

    Preferred is the distribution's own with its packaged libraries, as users' VMs have it.
    """
    probe = [sys.executable, "-c", ""]
    for candidate in ("/usr/bin/python3",):
        probe = [candidate, "-c", "import cryptography, requests, sys; assert sys.version_info >= (3, 9)"]
        if Path(candidate).exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return candidate, []
    return sys.executable, sorted({sys.prefix, sys.base_prefix})


class Host:
    """One fake VM: ``start`` returns at once, sshd answers a moment later."""

    def __init__(self, name: str, number: int, directory: Path, devices: Path) -> None:
        self.name, self.number = name, number
        self.files = directory / "files"
        self.base = directory / "mount"
        self.devices = devices
        self.log = directory / "sshd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self, address: str, event_log: bytes, authorized_key: str, hardware_roots: str) -> None:
        """Write what goes into the host's root before it starts."""
        self.files.mkdir(parents=True, exist_ok=True)
        self.base.mkdir(exist_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(self.files / "host_key")],
            check=True,
        )
        app = "app:x:4242:"
        texts = {
            "hosts": f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n",
            "hostname": f"{self.name}\n",
            "machine-id": f"{self.number:032x}\n",
            "resolv.conf": f"nameserver {netns.CORE_ADDRESS}\noptions timeout:2 attempts:2\n",
            "passwd": Path("/etc/passwd").read_text()
            + f"{app}4242:consumer of the key:/nonexistent:/usr/sbin/nologin\n",
            "group": Path("/etc/group").read_text() + f"{app}\n",
            "sshd_config": SSHD_CONFIG.format(address=address),
            "authorized_keys": authorized_key,
            "hardware_roots.pem": hardware_roots,
        }
        for file_name, text in texts.items():
            (self.files / file_name).write_text(text)
        (self.files / "event_log").write_bytes(event_log)

    @property
    def host_key(self) -> str:
        return (self.files / "host_key.pub").read_text().strip()

    def start(self, namespace: str, bundle: Path, authority: Path, cover: list[Path], visible: list[str]) -> None:
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "BASE": str(self.base),
            "FILES": str(self.files),
            "BUNDLE": str(bundle),
            "AUTHORITY": str(authority),
            "DEVICES": str(self.devices),
            "NAME": self.name,
            "COVER": " ".join(shlex.quote(str(path)) for path in cover),
            "VISIBLE": " ".join(visible),
            "OPEN": "/root" if any(path.startswith("/root/") for path in visible) else "",
        }
        command = ["ip", "netns", "exec", namespace, "unshare", "--mount", "--uts", "--pid", "--ipc", "--fork"]
        command += ["--kill-child=SIGKILL", "sh", "-c", SCRIPT]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process that keeps the host's namespaces; 0 before the start."""
        return self._process.pid if self._process else 0

    def _inside(self, path: str) -> Path:
        """A path of the host, reached through the mounts of the process that keeps them."""
        return Path(f"/proc/{self.pid}/root{self.base}/root{path}")

    def show_event_log(self, log: bytes) -> None:
        self._inside("/sys/kernel/security/tpm0/binary_bios_measurements").write_bytes(log)

    def empty_memory(self) -> None:
        """A boot finds its memory-backed folders empty; what sshd needs of them it would have made again."""
        for folder in MEMORY:
            empty(self._inside(folder), keep=("sshd",))

    def failure(self) -> str | None:
        """Why the host ended, or None while it runs."""
        if self._process is None or self._process.poll() is None:
            return None
        return self.log.read_text(errors="replace").strip()[-500:] or f"exit status {self._process.returncode}"

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)  # --kill-child takes the whole process namespace along
            self._process.wait()
