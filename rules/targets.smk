"""
The files that the command line asks for by name, to be made, made again or stopped at: their names are
checked as the study is.
"""


def loosely(pattern):
    """What a path must be for a rule to make it, whatever its wildcards stand for."""
    parts = re.split(r"\{(\w+)[^{}]*\}", str(pattern))
    words, seen = [re.escape(parts[0])], set()
    for name, text in zip(parts[1::2], parts[2::2]):
        words += [f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)", re.escape(text)]
        seen.add(name)
    return re.compile("".join(words))


def patterns(outputs_alone=False):
    """Every rule with each of its files that has wildcards, logs too; readings last, of any reader."""
    found = [(rule.name, str(one)) for rule in workflow.rules for one in rule.output]
    first = rules.read_lenses.output.readings[0]
    found.append(("read_lenses", os.path.join(os.path.dirname(first), "{reader}.parquet")))
    if not outputs_alone:
        # Snakemake makes the job of a log or a benchmark that is asked for by name.
        beside = ((rule, [*rule.log, rule.benchmark]) for rule in workflow.rules)
        found += [(rule.name, str(one)) for rule, files in beside for one in files if one]
    return [(rule, loosely(file)) for rule, file in found if "{" in file]


def check_asked_files(words):
    """Refuse a file that no study could ask for; what is no file of a rule is passed over."""
    paths = [word if os.path.isabs(word) else os.path.relpath(word) for word in words]
    known = patterns() if any("/" in path for path in paths) else []
    for path in paths:
        fits = ((maker, pattern.fullmatch(path)) for maker, pattern in known)
        maker, found = next((one for one in fits if one[1]), (None, None))
        if found:
            check_target(registry, places, maker, found.groupdict(), path)
            check_asked_data(found.groupdict(), maker)


def check_asked_data(names, maker):
    """Read the local rows and folders of what a file's path names, which the study may not read."""
    case = names.get("checkpoint", BASE)
    organism = names.get("organism")
    for model in registry.with_their_bases([names["model"]] if "model" in names else []):
        local_data.check_model(model)
    if maker == "steering_similarity":
        local_data.check_embedder()
    if case != BASE:
        local_data.check_published(Checkpoint.parse(case), names["model"])
        organism = Checkpoint.parse(case).organism
    if organism is not None:
        local_data.count(registry.organisms[organism].data)
    if "corpus" in names:
        local_data.count(registry.corpora[names["corpus"]])


def check_folders():
    """Refuse logs inside of what a rule makes, which is deleted before it is made again."""
    for name in ("logs", "benchmarks"):
        folder = Path(FOLDERS[name])
        for maker, pattern in patterns(outputs_alone=True):
            if any(pattern.fullmatch(str(one)) for one in (folder, *folder.parents)):
                where = places.at(f"pathvars.{name}")
                raise ValueError(
                    f"{where}: found a folder that the rule {maker} makes anew, expected another"
                )


if workflow.is_main_process:
    try:
        check_folders()
        check_asked_files(named_files(sys.argv[1:]))
    except ValueError as error:
        raise WorkflowError(without_secrets(str(error))) from None
