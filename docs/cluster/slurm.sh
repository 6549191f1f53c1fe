#!/usr/bin/env bash
# A recipe on Slurm: one Ray cluster over the job's machines, and the same line as on one machine.
#
#   sbatch docs/cluster/slurm.sh
#
# Put in: how the environment with verl, vLLM and oneshot-rlvr is entered, and a directory that every machine
# can write. The number of machines is the job's own.
#SBATCH --job-name=verl-cluster
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=48:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
set -euo pipefail

shared="${SHARED:?set SHARED to a directory that every machine can write}"
# shellcheck source=/dev/null
source "${ENVIRONMENT:?set ENVIRONMENT to the virtual environment with verl}/bin/activate"
export HF_HOME="$shared/huggingface"

mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head="${machines[0]}"
address="$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')"
port=6379

# Whatever ends this script ends the cluster with it.
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT

srun --nodes=1 --ntasks=1 --overlap --nodelist="$head" \
    ray start --head --block --node-ip-address="$address" --port="$port" \
    --dashboard-host=0.0.0.0 --num-gpus="$SLURM_GPUS_ON_NODE" &
for ((machine = 1; machine < ${#machines[@]}; machine++)); do
    srun --nodes=1 --ntasks=1 --overlap --nodelist="${machines[$machine]}" \
        ray start --block --address="$address:$port" --num-gpus="$SLURM_GPUS_ON_NODE" &
done

# Ready when every GPU of the job is there; ten minutes at most.
wanted=$((SLURM_JOB_NUM_NODES * SLURM_GPUS_ON_NODE))
timeout 600 python - "$address:$port" "$wanted" <<'PYTHON'
import sys, time
import ray

address, wanted = sys.argv[1], int(sys.argv[2])
while True:
    try:
        ray.init(address, logging_level="error", ignore_reinit_error=True)
        if ray.cluster_resources().get("GPU", 0) >= wanted:
            break
    except ConnectionError:
        pass
    time.sleep(5)
PYTHON

# --resume: after a requeue the run goes on from its last checkpoint. In the background, so that Slurm's
# signal two minutes before the end reaches the run, which then stops with its records in order.
oneshot train verl_cluster --resume \
    --out "$shared/runs/verl_cluster" \
    --examples.path "$shared/data/pi1_r128.parquet" \
    --backend.ray_address "http://$address:8265" \
    --backend.nodes "$SLURM_JOB_NUM_NODES" \
    --backend.gpus_per_node "$SLURM_GPUS_ON_NODE" &
run=$!
trap 'kill -TERM "$run" 2>/dev/null || true; wait "$run" || true; exit 143' TERM
wait "$run"
