#!/usr/bin/env python3
"""Runs a command where these logins are in utmp, each with a terminal and a process of its own. The command has its own processes,
mounts, utmp and passwd. So this needs root, and cleans up after itself.

The logins are lines of standard input: user, host, address and the age of the login in seconds, with tabs between. A user that ends in
"!" is not in passwd, one that ends in "?" has no process any more, and one that ends in "*" has a process that uses CPU time.
"""

import ipaddress
import os
import struct
import subprocess
import sys
import time

# struct utmp of glibc (bits/utmp.h): type, process, line, id, user, host, exit status, session, time, address.
UTMP = struct.Struct("=hxxi32s4s32s256shhiii16s20x")
USER_PROCESS = 7
BUSY = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exec sleep 1d"


def log_in(line):
    """Gives the terminal, which must stay open, the process or None, the entry in utmp, and the line of passwd."""
    user, host, address, age = line.split("\t")
    name = user.rstrip("!?*")
    terminal, inner = os.openpty()
    tty = os.ttyname(inner).removeprefix("/dev/").encode()
    process = os.fork()
    if process == 0:
        os.login_tty(inner)
        os.execvp("sh", ["sh", "-c", BUSY if user.endswith("*") else "exec sleep 1d"])
    os.close(inner)
    if user.endswith("?"):
        os.kill(process, 9)
        os.waitpid(process, 0)
    alive = None if user.endswith("?") else process
    packed = ipaddress.ip_address(address).packed if address else b""
    login = int(time.time()) - int(age)
    entry = UTMP.pack(USER_PROCESS, process, tty, tty[-4:], name.encode(), host.encode(), 0, 0, process, login, 0, packed)
    return terminal, alive, entry, "" if user.endswith("!") else f"{name}:x:0:0::/:/bin/sh\n"


def sleeps(process):
    with open(f"/proc/{process}/stat") as stat:
        return "(sleep) S " in stat.read()


def main():
    if os.getpid() != 1:
        apart = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        os.execvp("unshare", [*apart, sys.executable, *sys.argv])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    logins = [log_in(line) for line in sys.stdin.read().splitlines()]
    with open("/run/utmp", "wb") as utmp:
        utmp.writelines(entry for _, _, entry, _ in logins)
    with open("/run/passwd", "w") as passwd:
        passwd.writelines(line for _, _, _, line in logins)
    subprocess.run(["mount", "--bind", "/run/passwd", "/etc/passwd"], check=True)
    # From then on, nothing uses CPU time.
    while not all(sleeps(process) for _, process, _, _ in logins if process):
        time.sleep(0.01)
    # All others end with this one, which is the first process here.
    sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)


main()
