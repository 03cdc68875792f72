#!/usr/bin/env bash
# The wheel as a stranger gets it: built here, installed elsewhere with run-time dependencies only, then used.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
bin="$root/.venv/bin"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf 'wheel: %s\n' "$*"; }
fail() { printf 'wheel: FAILED: %s\n' "$*" >&2; exit 1; }

# (1) build from a copy of the tracked files, so that nothing untracked can hide a missing file
git -C "$root" ls-files -z | (cd "$root" && tar --null -T - --ignore-failed-read -cf - 2>/dev/null) | tar -xf - -C "$(mkdir "$work/tree" && echo "$work/tree")"
"$bin/uv" build -q --wheel --no-build-isolation --python "$bin/python" -o "$work/dist" "$work/tree"
wheel=$(echo "$work"/dist/*.whl)
say "$(basename "$wheel") $(stat -c %s "$wheel") bytes"

# (2) what it must hold
"$bin/python" - "$wheel" "$root" <<'PYTHON'
import pathlib, subprocess, sys, zipfile
names = set(zipfile.ZipFile(sys.argv[1]).namelist())
root = pathlib.Path(sys.argv[2])
tracked = subprocess.run(["git", "-C", root, "ls-files", "src"], check=True, capture_output=True, text=True).stdout.split("\n")
missing = [path for path in tracked if path and (root / path).exists() and path.removeprefix("src/") not in names]
if not any(name.endswith("/licenses/LICENSE") for name in names):
    missing.append("LICENSE")
if "kubewitness/py.typed" not in names:
    missing.append("py.typed")
outside = [name for name in names if not name.startswith("kubewitness")]
sys.exit(f"missing from the wheel: {missing}" if missing else f"does not belong in it: {outside}" if outside else 0)
PYTHON
say "holds LICENSE, py.typed and every tracked file of src/"

# (3) a clean place: hashed run-time requirements, the wheel, nothing else
"$bin/uv" venv -q --python "$bin/python" "$work/venv"
"$bin/uv" pip install -q --python "$work/venv" --require-hashes -r "$root/requirements/run.txt"
"$bin/uv" pip install -q --python "$work/venv" --no-deps "$wheel"
cd "$work"
unset PYTHONPATH
run() { env -i PATH="$work/venv/bin:/usr/bin:/bin" HOME="$work" LANG=C.UTF-8 "$@"; }
"$bin/uv" pip check -q --python "$work/venv" || fail "installed packages do not fit together"

# (4) every module imports without a development dependency
run python -W error - <<'PYTHON'
import importlib, pkgutil, kubewitness
count = 0
for found in pkgutil.walk_packages(kubewitness.__path__, "kubewitness."):
    importlib.import_module(found.name)
    count += 1
print(f"wheel: {count} modules import")
PYTHON

# (5) it runs
run kubewitness --help > help.txt
grep -q "audit log as evidence" help.txt || fail "--help does not say what this is"
run kubectl-witness --version
for command in $(sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p' help.txt); do
    run kubewitness "$command" --help > /dev/null || fail "kubewitness $command --help"
done
for command in demo policy search; do
    grep -q "^  $command " help.txt || fail "--help does not list $command"
done
cp "$root"/tests/data/policies/{metadata,security}.yaml "$root"/tests/data/audit-metadata.log.zst .
run kubewitness policy check metadata.yaml > check.txt || fail "policy check finds fault with a good policy"
code=0; run kubewitness policy check security.yaml > check.txt || code=$?
[ "$code" -eq 1 ] && grep -q "userGroups" check.txt || fail "policy check does not find what is wrong (exit code $code)"
found=$(run kubewitness search audit-metadata.log.zst --resource secrets --verb delete --count)
[ "$found" -gt 0 ] || fail "search found nothing"
say "search counts $found"
start=$(date +%s)
run kubewitness demo > demo.txt || fail "demo ended with $?"
took=$(( $(date +%s) - start ))
[ "$took" -lt 10 ] || fail "demo took $took s"
say "demo took $took s and printed $(wc -l < demo.txt) lines"
say "good"
