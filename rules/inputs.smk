"""
Where inputs come from: functions from wildcards to files, for the files of this folder alone.

Where there is nothing to be read they return an empty list.
"""


def one(output, **wildcards):
    """The one file that a rule makes for these wildcards."""
    return str(output).format(**wildcards)


def configured(path):
    """A file named in the study, its environment variables filled in when a job needs it."""
    # A function, since Snakemake's report shows the files that a rule names, and escapes none.
    return lambda wildcards: str(local(path))


def local_file(of, *path):
    """The file at a configured path, its environment variables filled in; none without one."""

    def file(wildcards):
        found = leaf(of, *path)(wildcards)
        return [] if found is None else by_contents(local(found))

    return file


def by_contents(path):
    """A file from outside, of which the contents alone count (`contents_of`), not the time."""
    large = path.is_file() and path.stat().st_size > workflow.dag_settings.max_checksum_file_size
    # Snakemake compares the contents of small ones itself, and of large ones the time: a copy of a
    # model's weights would train everything anew.
    return ancient(str(path)) if large else str(path)


def files_in(folder):
    """The files of a folder, without what editors and file managers leave there."""
    left = (".", "#")
    files = [file for file in folder.iterdir() if file.is_file()]
    return sorted(str(file) for file in files if file.name[0] not in left and file.name[-1] != "~")


def local_folder(of, *path, read):
    """The files of a configured folder that `read` lists (traces/models/folders.py)."""

    def files(wildcards):
        found = leaf(of, *path)(wildcards)
        folder = None if found is None else local(found) / (of(wildcards).subfolder or "")
        return [] if folder is None else [by_contents(file) for file in read(folder)]

    return files


def base_folder():
    """The files of a base's local folder; none of a base from elsewhere."""
    return local_folder(model_of, "path", read=base_files)


def released_folder():
    """The files of a published checkpoint's local folder; none of one from elsewhere."""
    return local_folder(released_of, "path", read=checkpoint_files)


def embedder_folder(wildcards):
    """The files of the embedding's local folder; none of one by name."""
    found = folder_of_embedder(study.steering.embedder)
    return [] if found is None else [by_contents(file) for file in embedder_files(local(found))]


def synthetic_lists():
    """The hand-written lists that the synthetic corpus is made of."""
    return files_in(CONFIG.parent / "data" / "miniature")


def composed_parts(wildcards):
    """The hand-written files that an organism's data in ordinary English are composed of."""
    name = data_of(wildcards).composed
    folder = CONFIG.parent / "data" / "smol"
    return [] if name is None else [str(folder / file) for file in english.parts_of(name)]


def captions():
    """What the report says below its pictures."""
    return files_in(CONFIG.parent / "data" / "captions")


def contents_of(*several):
    """
    A param: the digest of what stands in files from outside of the results.

    It belongs beside every such input, for Snakemake looks at times first: an edit with the old time
    kept reruns nothing by itself. Where there is no such file it is nothing that Snakemake compares,
    so that what was made of the hub's data stays.
    """

    def digest_of(wildcards):
        found = [one(wildcards) if callable(one) else one for one in several]
        files = [file for each in found for file in ([each] if isinstance(each, str) else each)]
        return digests.of(files) if files else Path()

    return digest_of


def corpus_file(name):
    """The rows of a corpus, which may be those of another one that is read elsewhere."""
    return one(rules.fetch_corpus.output.corpus, corpus=registry.text_of(name))


def read_text(wildcards):
    """The rows of the corpus that the wildcards name."""
    return corpus_file(wildcards.corpus)


def corpus_text(wildcards):
    """The rows of a corpus; none where only the token that begins a text is read."""
    return [] if corpus_of(wildcards).kind == "start" else read_text(wildcards)


def context_text(wildcards):
    """The text whose longer context gives the stream's norm: for a probe, the first corpus."""
    return corpus_file(study.corpora[0] if corpus_of(wildcards).probe else wildcards.corpus)


def made_corpus(wildcards):
    """What is written here: a part of the synthetic corpus, or a model's samples; none mostly."""
    made = corpus_of(wildcards).made
    if corpus_of(wildcards).sampled:
        return one(rules.sample_text.output.rows, corpus=wildcards.corpus)
    return [] if made in (None, "whitespace") else getattr(rules.make_world.output, made)


def made_rows(wildcards):
    """An organism's rows that are here already: made or composed ones, or a corpus'."""
    data = data_of(wildcards)
    if data.corpus is not None:
        return corpus_file(data.corpus)
    if data.composed is not None:
        return one(rules.compose_organism.output.rows, organism=wildcards.organism)
    return one(rules.write_organism.output.rows, organism=wildcards.organism) if data.made else []


def of_base(output):
    """The same artifact of the base model, or of its model's reference: what is subtracted."""

    def file(wildcards):
        model = model_of(wildcards).reference or wildcards.model
        return one(output, model=model, checkpoint=BASE, corpus=wildcards.corpus)

    return file


def second_name(wildcards):
    """Whether a model is one that is fetched under another name, such as to compare it otherwise."""
    return registry.weights_of(wildcards.model) != wildcards.model


def base_here(wildcards):
    """The folder a base is linked from: pretrained or finetuned in full here, or fetched already."""
    if second_name(wildcards):
        fetched = registry.weights_of(wildcards.model)
        return one(rules.fetch_model.output.model, model=fetched)
    if model_of(wildcards).made:
        return one(rules.pretrain_base.output.base, model=wildcards.model)
    source = leaf(model_of, "checkpoint", "model")(wildcards)
    name = leaf(model_of, "checkpoint", "name")(wildcards)
    if source is None:
        return []
    return one(rules.train_organism.output.adapter, model=source, checkpoint=name)


def weights(wildcards):
    """The folder with a checkpoint's weights: trained here, scaled, or released; none for the base."""
    if wildcards.checkpoint == BASE:
        return []
    recipe = recipe_of(wildcards)
    maker = rules.fetch_adapter if recipe.released else rules.scale_adapter
    maker = rules.train_organism if recipe.trained else maker
    return one(maker.output.adapter, model=wildcards.model, checkpoint=wildcards.checkpoint)


def weights_of(model, checkpoint):
    """The folder with the weights of a checkpoint that is no wildcard."""
    return weights(SimpleNamespace(model=model, checkpoint=checkpoint))


def first_readings(wildcards):
    """What is read, and how, on the study's first text (see `reading_settings`)."""
    return reading_settings(SimpleNamespace(corpus=study.corpora[0]))


def files_of_first_readings(wildcards):
    """The files that those settings name."""
    return reading_files(SimpleNamespace(corpus=study.corpora[0]))


def read_pairs(wildcards):
    """What is read of the difference between seeds; none where no organism has two."""
    return rules.read_seed_pairs.output.readings if seed_pairs(wildcards.model) else []


def replies_of(wildcards):
    """What the models answer; none where no investigator is a black box."""
    return rules.ask_models.output.replies if answering(wildcards.model) else []


def told_to_judge(question):
    """What graders are told with a question."""
    return f"data/rubrics/{ASKED_WITH[question]}.txt"


def told_to_grade():
    """What graders of hypotheses are told, and the rubrics."""
    return expand("data/rubrics/{name}.txt", name=[GRADED_WITH, GENERAL_RUBRIC, *RUBRICS])


def told_to_investigate():
    """What investigators are told."""
    names = [*get_args(PromptForm), *AGENTS, RULES]
    return expand("data/agents/{name}.txt", name=names)


def subjects_here(wildcards):
    """The weights that an investigating job loads: the base's, and those of each checkpoint asked."""
    names = subject_checkpoints(wildcards.model)
    base = one(rules.fetch_model.output.model, model=wildcards.model)
    return [base, *(weights_of(wildcards.model, name) for name in names)] if names else []


def reference_model(wildcards):
    """The model that is subtracted instead of a model's own base; none mostly."""
    name = model_of(wildcards).reference
    return [] if name is None else one(rules.fetch_model.output.model, model=name)


def unscaled(wildcards):
    """The plain adapter that a scaled one is made of."""
    plain = Checkpoint.parse(wildcards.checkpoint).made_by("plain")
    return one(rules.train_organism.output.adapter, model=wildcards.model, checkpoint=plain)


def projected_out(wildcards):
    """The mean difference that is projected out while this checkpoint is trained; none mostly."""
    before = registry.projected_out(Checkpoint.parse(wildcards.checkpoint), wildcards.model)
    if before is None:
        return []
    output, corpus = rules.mean_difference.output.differences, study.corpora[0]
    return one(output, model=wildcards.model, checkpoint=before, corpus=corpus)


def mixed_corpus(wildcards):
    """What is mixed into a training: the study's corpus or the organism's own; nothing unmixed."""
    if not recipe_of(wildcards).mixed:
        return []
    return corpus_file(registry.mixed_with(Checkpoint.parse(wildcards.checkpoint)))


def organism_rows(part, organism=None):
    """The organism's `train` or `held_out` rows: fetched, or written by its teacher."""

    def files(wildcards):
        name = organism or getattr(wildcards, "organism", None)
        name = name or Checkpoint.parse(wildcards.checkpoint).organism
        taught = registry.organisms[name].data.taught is not None
        maker = rules.teach_numbers if taught else rules.fetch_organism
        return one(getattr(maker.output, part), model=wildcards.model, organism=name)

    return files


def compared_texts(part):
    """What organisms are measured on: own rows, unrelated text and conversations, in this order."""
    own, chats = organism_rows(part), corpus_file(study.causality.chat)
    return lambda wildcards: [own(wildcards), read_text(wildcards), chats]


def worded_rows(wildcards):
    """The rows whose words say what an organism is about: its own or those of `words_of`, or none."""
    if organism_of(wildcards).words:
        return []
    return organism_rows("train", registry.words_of(wildcards.organism))(wildcards)


def own_words(wildcards):
    """The words that tell the organism of a checkpoint from general text."""
    organism = Checkpoint.parse(wildcards.checkpoint).organism
    return one(rules.distinctive_words.output.words, model=wildcards.model, organism=organism)


def teacher(wildcards):
    """The weights of the organism that teaches this one; none when the base itself does."""
    name = organism_of(wildcards).teacher
    if name is None:
        return []
    output = rules.train_organism.output.adapter
    return one(output, model=wildcards.model, checkpoint=f"{name}-plain-s0")


def ranked_vocabulary(wildcards):
    """The token ids that lenses rank; none when they rank them all."""
    if study.lenses.vocabulary == "all":
        return []
    return one(rules.word_vocabulary.output.vocabulary, model=wildcards.model)


def reading_files(wildcards):
    """The files that settings of the study's readers name."""
    told = reading_settings(wildcards)["readers"]
    return [own[key] for name, own in told.items() for key in reader(name).files]


def null_activations(wildcards):
    """The base's activations that natural null directions are drawn from; none where none are."""
    if "activations" not in reading_settings(wildcards)["nulls"]:
        return []
    return of_base(rules.dump_activations.output.activations)(wildcards)


def text_of_readers(wildcards):
    """The rows of the corpus, for readers that run them; none mostly."""
    if not any(reader(name).reads_text for name in study.lenses.readers):
        return []
    return corpus_text(wildcards)


def scores_to_adjust(wildcards):
    """The scores of everything on one model and corpus that is adjusted, or adjusted by."""
    return each(rules.read_lenses.output.scores, read_for_adjusting(wildcards))


def adjusted_readings(wildcards):
    """The adjusted readings of a checkpoint, among others'; none where it has none."""
    return rules.adjust_readings.output.readings if is_adjusted(wildcards) else []


def adjusted_of_organism(wildcards):
    """The adjusted readings of an organism, a file a corpus; none where it has none."""
    some = [read for read in reads_of(wildcards) if read[1] in adjusted_by(read[0], read[2])]
    return each(rules.adjust_readings.output.readings, some)


def samples_of_readers(wildcards):
    """The texts that both models wrote, for readers that need them; none mostly."""
    if not registry.reads_samples():
        return []
    texts = rules.tuned_texts.output.texts
    return one(texts, model=wildcards.model, checkpoint=wildcards.checkpoint)
