#!/usr/bin/env python3
"""Makes one mistake at a time in what shares memory and time between sequences, and shows that a test fails.

usage: tests/mutants/run.py [WORDS]    only the mistakes whose description has these words

Works on a copy of the tree under build/mutants. Ends with 1 where a mistake is not caught.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "mutants"
TESTS = "PageBook.*:Known*:Batch.*:Scheduler*:Engine*:KvCache*"

# What is wrong; in which file of halyard/engine; what stands there; what stands there instead.
MISTAKES = [
    ("a fork does not hold its pages", "page_book.cc", "for (const std::int32_t page : s.pages) pages_.hold(page);", ""),
    ("a fork does not hold its state", "page_book.cc", "if (s.state != kNone) states_.hold(s.state);", ""),
    ("shared pages are written into", "page_book.cc", "pages_.references(s.pages.back()) > 1 || is_known", "is_known"),
    ("known pages are written into", "page_book.cc", "> 1 || is_known(s.pages.back())", "> 1"),
    ("a copy lacks its last entry", "page_book.cc", "i < static_cast<std::int32_t>(inside); ++i", "i + 1 < static_cast<std::int32_t>(inside); ++i"),
    ("a dropped step keeps its pages", "page_book.cc", "  cut(s, pages_for(s.size));\n  if (s.shared)", "  if (s.shared)"),
    ("a dropped step keeps its copy", "page_book.cc", "    s.pages.back() = *s.shared;\n    s.shared.reset();", "    s.shared.reset();"),
    ("a dropped step keeps its state", "page_book.cc", "  give_state(std::exchange(s.next_state, kNone));\n  s.reserved", "  s.reserved"),
    ("a committed step keeps the state before", "page_book.cc", "give_state(std::exchange(s.state, std::exchange(s.next_state, kNone)))", "s.state = std::exchange(s.next_state, kNone)"),
    ("a step begins from no state", "page_book.cc", "r.state_from = s.state;", "r.state_from = kNone;"),
    ("a state is kept in the midst of a page", "page_book.cc", "s.size % page_ != 0 || !is_known", "!is_known"),
    ("a text begins where no state is", "page_book.cc", "if (!has_states() || state_of(page) != kNone) good", "good"),
    ("a text is taken over whole", "page_book.cc", "  if (s.size == text.size()) truncate(id, s.size - 1);\n", ""),
    ("a state outlives its page", "page_book.cc", "  page_of(state) = kNone;\n", ""),
    ("a state that is held is let go", "page_book.cc", "if (states_.references(state) == 0) states_.release", "states_.release"),
    ("a cut text is cut between states", "page_book.cc", "    n = pages * page_;\n", ""),
    ("a cut text is remembered whole", "page_book.cc", "  s.size = n;\n  s.text.resize(std::min(s.text.size(), n));", "  s.size = n;"),
    ("contents have several pages", "page_book.cc", "  pages_.hold(known);\n  give_page(page);\n  page = known;", ""),
    ("what has one hash has one content", "page_contents.cc", " && std::ranges::equal(tokens(p), text)", ""),
    ("pages are known without what is before them", "page_contents.cc", " && at(p).before == before", ""),
    ("a forgotten page still follows", "page_contents.cc", "--at(before).followers;", "{}"),
    ("a failed step is not dropped", "batch.cc", "for (const Part& p : parts) book_.drop(p.sequence);", ""),
    ("what is not finite is kept", "batch.cc", "if (logits[i]) book_.commit", "book_.commit"),
    ("copies are not made", "batch.cc", "HALYARD_TRY(copy_slots(e, steps_.cache(), from, to));", ""),
    ("rows that make up a shape write", "steps.cc", "std::fill_n(slots, s.rows, -1);", ""),
    ("sequences that make up a shape write", "steps.cc", "std::fill_n(slot_from, 2 * s.sequences, -1);", ""),
    ("wanted rows do not see those before them", "steps.cc", "p.held + i, p.window", "p.held, p.window"),
    ("a text put back keeps its pages", "scheduler.cc", "  batch_.close(*line->sequence);\n  line->sequence.reset();", "  line->sequence.reset();"),
    ("a text that ends keeps its pages", "scheduler.cc", "  if (l.sequence) batch_.close(*l.sequence);\n  Lines& lines", "  Lines& lines"),
    ("who came first is put back", "scheduler.cc", "put_back(std::prev(running_.end()));", "put_back(running_.begin());"),
    ("pages are promised twice", "scheduler.cc", "promised += pages_ahead(l);\n    note", "note"),
    ("a step's failure is everybody's", "scheduler.cc", "if (++c.line->failures > 1 && chosen_.size() == 1)", "if (++c.line->failures > 0)"),
    ("forks draw from used logits", "scheduler.cc", "    std::ranges::copy(kept, logits.begin());\n", ""),
    ("completions have one seed", "scheduler.cc", "if (o.seed) *o.seed += i;", ""),
    ("a prefix is read by all at once", "scheduler.cc", "|| (has == 0 && waits_for_page(l))", ""),
    ("steps do not end at pages' ends", "scheduler.cc", "return end > begin ? end - begin : n;", "return n;"),
    ("a text put back is counted as taken over", "scheduler.cc", "std::max(begin, l.reached)", "begin"),
    ("prompts take all of a step", "scheduler.cc", "std::min(room, pace_.prompt_rows(rows_written_))", "room"),
    ("a stop token is given out", "scheduler.cc", "if (std::ranges::find(o.stop_ids, *token) != o.stop_ids.end()) return end(l, FinishReason::stop);", ""),
]


def sh(*command, **kw):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)


def build():
    return sh("ninja", "-C", str(WORK / "build"), "halyard_engine_test")


def test():
    env = dict(os.environ, GTEST_BRIEF="1", GTEST_FAIL_FAST="1", HALYARD_HISTORIES="60")
    try:
        return sh(str(WORK / "build" / "bin" / "halyard_engine_test"), "--gtest_filter=" + TESTS, env=env, timeout=600)
    except subprocess.TimeoutExpired:
        return None


def how_it_failed(run):
    if run is None:
        return "hangs"
    failed = re.search(r"\[  FAILED  \] ([\w.]+)", run.stdout)
    return failed.group(1) if failed else f"ends with {run.returncode}"


def main():
    words = " ".join(sys.argv[1:])
    files = sh("git", "-C", str(ROOT), "ls-files", "-z").stdout.split("\0")
    for name in filter(None, files):
        to = WORK / "tree" / name
        if not (ROOT / name).is_file() or (to.is_file() and to.read_bytes() == (ROOT / name).read_bytes()):
            continue
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, to)
    made = sh("cmake", "-S", str(WORK / "tree"), "-B", str(WORK / "build"), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
              "-DHALYARD_TESTS=ON", *(["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []))
    built = build()
    if made.returncode or built.returncode:
        sys.exit(made.stdout + built.stdout)
    if (clean := test()) is None or clean.returncode:
        sys.exit("fails without a mistake: " + how_it_failed(clean))
    missed = 0
    for what, name, right, wrong in MISTAKES:
        if words not in what:
            continue
        path = WORK / "tree" / "halyard" / "engine" / name
        text = path.read_text()
        if text.count(right) != 1:
            sys.exit(f"{what}: {name} has {text.count(right)} of\n{right}")
        path.write_text(text.replace(right, wrong))
        try:
            built = build()
            run = test() if built.returncode == 0 else None
        finally:
            path.write_text(text)
        if built.returncode:
            sys.exit(f"{what}: does not compile\n{built.stdout}")
        caught = run is None or run.returncode != 0
        missed += not caught
        print(f"{what:<50} {how_it_failed(run) if caught else 'NOT CAUGHT'}", flush=True)
    sys.exit(1 if missed else 0)


main()
