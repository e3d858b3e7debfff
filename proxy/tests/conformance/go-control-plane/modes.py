"""Every mode of the test program, each in a network namespace of its own, for the program's ports are fixed.

A mode holds if the program ends well (of the request batches after each push, one reached every listener) and the proxy
rejected nothing of what it was sent.
"""

import concurrent.futures
import json
import os
import re
import subprocess
import sys

import bootstrap

# As the program's documentation has them, and what each adds.
MODES = [
    "ads", "ads -tls", "xds", "xds -tls", "delta", "delta -tls", "delta-ads", "delta-ads -tls",
    "rest", "ads -mux", "xds -mux", "ads -clusters 20 -http 30 -tcp 20",
]
# What the origin answers, and the program expects.
MESSAGE = "hello from behind the proxy\n"
# A mode takes 8 s; a push that never arrives is seen by then.
LIMIT = 120
# More would make the program's clients, who wait 100 ms, wait for each other.
AT_ONCE = 2
LOG_LINES = 15

# Runs in the namespace: the origin, the proxy, the program, and the proxy's own account of it. The proxy starts first:
# the program waits for it a minute.
IN_NAMESPACE = r"""
ip link set lo up
work=$1 program=$2 proxy=$3 origin=$4; shift 4
python3 "$origin" & started=$!
"$proxy" -c "$work/bootstrap.json" --drain-time-s 1 --concurrency 1 >"$work/proxy.log" 2>&1 & started="$started $!"
trap 'kill $started 2>/dev/null; wait' EXIT
"$program" "$@" >"$work/program.log" 2>&1; status=$?
python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:19000/stats').read().decode())" >"$work/stats"
exit $status
"""


def run(mode, work, program, proxy):
    """What is wrong, and how the batches went."""
    words = mode.split()
    folder = os.path.join(work, mode.replace(" ", ""))
    os.makedirs(folder)
    with open(os.path.join(folder, "bootstrap.json"), "w") as file:
        json.dump(bootstrap.bootstrap(words[0]), file, indent=1)
    here = os.path.dirname(os.path.abspath(__file__))
    arguments = [folder, program, proxy, os.path.join(here, "origin.py"), f"-xds={words[0]}", f"-message={MESSAGE}"]
    # Over ADS a server answers only who names all that there is, and each layer is asked for by name.
    arguments += [f"-runtimes={bootstrap.layers(words[0])}", *words[1:]]
    environment = {**os.environ, "MESSAGE": MESSAGE}
    try:
        command = ["unshare", "-n", "bash", "-c", IN_NAMESPACE, "-", *arguments]
        status = subprocess.run(command, env=environment, timeout=LIMIT, start_new_session=True).returncode
    except subprocess.TimeoutExpired:
        return [f"is not done after {LIMIT} s"], ""
    wrong = [] if status == 0 else [f"the program ends with {status}"]
    said = read(folder, "program.log")
    batches = re.findall(r"request batch (\d+), ok (\d+), failed (\d+)", said)
    shown = " ".join(f"{'| ' if number == '0' else ''}{ok}/{int(ok) + int(bad)}" for number, ok, bad in batches)
    rejected = re.findall(r"^(\S*update_rejected): ([1-9]\d*)$", read(folder, "stats"), re.MULTILINE)
    wrong += [f"{name} is {count}" for name, count in rejected]
    if wrong:
        for name in ["program.log", "proxy.log"]:
            print(f"--- the end of {mode}: {name}")
            print("\n".join(line[:400] for line in read(folder, name).splitlines()[-LOG_LINES:]))
    return wrong, shown


def read(folder, name):
    path = os.path.join(folder, name)
    return open(path, errors="replace").read() if os.path.exists(path) else ""


def main():
    work, program, proxy = sys.argv[1:]
    chosen = os.environ.get("GO_CONTROL_PLANE_MODES")
    modes = chosen.split("|") if chosen else MODES
    failed = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(run, mode, work, program, proxy): mode for mode in modes}
        for done in concurrent.futures.as_completed(running):
            mode = running[done]
            wrong, shown = done.result()
            print(f"{'FAILED' if wrong else 'passed'}  {mode:<36} {shown}", flush=True)
            for line in wrong:
                print(f"        {line}")
            failed += [mode] if wrong else []
    print(f"go-control-plane: {len(modes) - len(failed)} of {len(modes)} modes hold")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
