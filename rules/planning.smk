"""
Planning thousands of jobs: what Snakemake and its libraries work out anew for every job, remembered.

Nothing here changes what is planned, and a Snakemake that has no such names is left as it is. The
paper's study is planned in three quarters of the time (docs/log.md).
"""

import atexit
import functools
import gc

import smart_open
from snakemake import common as snakemake_common, rules as snakemake_rules


def remembered(parameters_of):
    """Snakemake's question what a function takes, put to each function once; else at every job."""
    known = {}

    @functools.wraps(parameters_of)
    def answer(function):
        # The methods of a job's resources are new with each job: the function under them is not.
        function_itself = getattr(function, "__func__", function)
        if function_itself not in known:
            known[function_itself] = parameters_of(function)
        return known[function_itself]

    return answer


for room in (snakemake_common, snakemake_rules):
    if hasattr(room, "get_function_params"):
        room.get_function_params = remembered(room.get_function_params)

# Where a job's script is: for an answer smart_open makes a class, three times a job.
smart_open.parse_uri = functools.cache(smart_open.parse_uri)

# Thousands of jobs are no garbage: looking for some took a tenth of the time, and as much again at exit.
gc.set_threshold(10_000_000)
atexit.register(gc.freeze)
