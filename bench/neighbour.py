#!/usr/bin/env python3
"""What halyard keeps of its speed beside other programs.

Rounds of: nothing else running, a busy loop on one of two cores, a busy loop on each. In each state: tokens a second
while a model writes, and how fast two loops read memory of their own, which is what the machine has left for anybody.
Prints a Markdown table of medians, and of the medians of each round's ratio to its own idle state.

    cmake --preset release -DHALYARD_BENCH=ON && ninja -C build/release all benchmarks
    bench/neighbour.py --model models/gutenberg-29m-4bit
"""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys


@contextlib.contextmanager
def neighbours(cores):
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=lambda c=core: os.sched_setaffinity(0, {c}))
             for core in cores]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def output_of(command):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--build", default="build/release")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, set(cores))

    def tokens(threads):
        run = output_of([f"{args.build}/bin/halyard", "bench", "--model", args.model, "-p", "0", "-n", "512", "-r", "4",
                         "-t", str(threads), "--json"])
        return run[0]["avg_ts"]

    def reads(mib):
        run = output_of([f"{args.build}/bench/reader_bench", f"--benchmark_filter=Read/MiB:{mib}/real_time/threads:2$",
                         "--benchmark_min_time=0.5", "--benchmark_format=json"])
        return run["benchmarks"][0]["bytes_per_second"] / 1e9

    what = {f"writing, {args.threads} threads, tokens/s": lambda: tokens(args.threads),
            "writing, 1 thread, tokens/s": lambda: tokens(1),
            "reading 2 x 1 MiB, GB/s": lambda: reads(1),
            "reading 2 x 8 MiB, GB/s": lambda: reads(8),
            "reading 2 x 16 MiB, GB/s": lambda: reads(16)}
    states = {"idle": [], "one": cores[:1], "two": cores}
    seen = {name: {state: [] for state in states} for name in what}
    for done in range(args.rounds):
        for state, busy in states.items():
            print(f"\rround {done + 1} of {args.rounds}: {state}  ", end="", file=sys.stderr, flush=True)
            with neighbours(busy):
                for name, measure in what.items():
                    seen[name][state].append(measure())
    print(file=sys.stderr)

    print("| | idle | one neighbour | kept | two neighbours | kept |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, by_state in seen.items():
        row = [f"{statistics.median(by_state['idle']):.5g}"]
        for state in ("one", "two"):
            kept = [busy / idle for busy, idle in zip(by_state[state], by_state["idle"])]
            row += [f"{statistics.median(by_state[state]):.5g}",
                    f"{statistics.median(kept):.0%} ({min(kept):.0%} to {max(kept):.0%})"]
        print(f"| {name} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
