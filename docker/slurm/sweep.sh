#!/usr/bin/env bash
# A sweep under Slurm: Ray's head and workers, one task a node, and `lth-sweep run` beside the head.
#
#   sbatch --nodes=4 --gpus-per-node=4 --time=12:00:00 docker/slurm/sweep.sh mine.yaml
#
# Five minutes before the time limit, the sweep stops where all is consistent and the job is queued again; it then goes on
# where it was. To stop it likewise, but for good: scancel --batch --signal=INT JOB. A plain scancel, and preemption, take
# Ray away under it, from which it goes on as well when it is submitted again, or was queued again by Slurm.
#
# RUNS (runs) must be on a file system that all nodes share, or s3://BUCKET/PREFIX; the folder that you submit from and
# the environment that is active there must be on one.
# TRACKING: LTH_SWEEP_TRACKING_URI, by default SQLite in RUNS, which needs a file system with locks.
#SBATCH --job-name=lth-sweep
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=lth-sweep-%j.log
set -euo pipefail

sweep=${1:?a sweep file: sbatch docker/slurm/sweep.sh mine.yaml}
: "${SLURM_JOB_ID:?this is a batch script: sbatch docker/slurm/sweep.sh $sweep}"
runs=${RUNS:-runs}
# Slurm runs a copy of this script from its spool, so that the others are looked for where the job was submitted.
node=${NODE:-$SLURM_SUBMIT_DIR/docker/node}
[ -x "$node" ] || { echo "no $node: submit from the repository, or name docker/node in NODE" >&2; exit 2; }

# A token for this job alone, that only you can read.
case $runs in
s3://*) folder=$PWD ;;
/*) folder=$runs ;;
*) folder=$PWD/$runs ;;
esac
mkdir -p "$folder"
export RAY_AUTH_TOKEN_PATH=$folder/.ray-token-$SLURM_JOB_ID
export RAY_AUTH_MODE=token
unset RAY_AUTH_TOKEN
(umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH")

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
export RAY_PORT=$((20000 + SLURM_JOB_ID % 20000)) # jobs that share a node do not meet
head=${hosts[0]}:$RAY_PORT
steps=()
command=
requeue=
trap 'kill -TERM "${steps[@]}" 2>/dev/null || true; wait "${steps[@]}" || true; rm -f "$RAY_AUTH_TOKEN_PATH"' EXIT
# The first two come to this shell alone, by B: above and by --batch. TERM comes to all processes of the job, the sweep
# among them, for which a second signal means at once.
trap 'requeue=yes; [ -z "$command" ] || kill -TERM "$command" || true' USR1
trap 'requeue=no; [ -z "$command" ] || kill -TERM "$command" || true' INT
trap 'requeue=no' TERM

NODE_CPUS=${SLURM_CPUS_ON_NODE:-} srun --overlap --nodes=1 --ntasks=1 --nodelist="${hosts[0]}" "$node" head &
steps+=($!)
python -m lth_sweep.orchestration.joining check "$head" # waits for it
for host in "${hosts[@]:1}"; do
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$host" "$node" worker "$head" &
    steps+=($!)
done

[ -z "$requeue" ] || exit 1
lth-sweep run "$sweep" --runs "$runs" --ray-address "$head" &
command=$!
wait "$command" || true
while kill -0 "$command" 2>/dev/null; do wait "$command" || true; done # a signal ends the wait, not the sweep
code=0
wait "$command" || code=$?
if [ "$requeue" = yes ] && [ "$code" -ne 0 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
