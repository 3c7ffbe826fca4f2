"""Verified tissue patches a second, bytes and memory of each profile, in one run: `profile_speed`.

python benchmarks/bench_profiles.py [SLIDE ...]
"""

if __name__ == "__main__":
    # Not above: every process that encodes patches runs this file, and would load the whole library for it.
    from profile_speed import main

    main()
