"""Make a model from recordings: pyenhance train STEP ... (or python -m pyenhance.train STEP ...)

    corpus    make a corpus of public sources' speech        --out CORPUS --dnsmos FILE
    dataset   mix corpora into feature shards              --data CORPUS... --out SHARDS --hours 40
    fit       train on the shards                         --shards SHARDS --out RUN.pt --minutes 60
    export    turn the checkpoint into an int8 model      RUN.pt -o model.safetensors
    initial   have a model begin as in mid-speech         --shards SHARDS --model NAME -o model.safetensors
    diff      train an update of a few percent of a model --base MODEL --shards SHARDS --minutes 60 -o UPDATE.diff
    summary   what pyenhance adapt must know of the data    --shards SHARDS --model NAME -o NAME.summary
    trial     users of a corpus adapt, and are scored       --data CORPUS -o trial.json

Each step tells its options with --help. A corpus is a folder with manifest_speech.csv (file, speaker, eff_bw, group,
split), manifest_noise.csv and manifest_rir.csv (file, group, split); `split` is train or valid. dataset, fit and diff
resume where they stopped. The result is used by path, pyenhance denoise --model model.safetensors, and scored by
pyenhance evaluate.
"""

import sys
from importlib import import_module

STEPS = ("corpus", "dataset", "fit", "export", "initial", "diff", "summary", "trial")
_MODULES = {"corpus": "sources"}  # where a step's module has another name


def main(argv: list[str] | None = None) -> int:
    """Run one step.

    Returns
    -------
    int: 0, or 2 when no step is named.

    Raises
    ------
    ImportError
        The extra ``train`` is not installed.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if arguments else 2
    if arguments[0] not in STEPS:
        print(f"pyenhance train: step {arguments[0]!r}; accepted: {', '.join(STEPS)}", file=sys.stderr)
        return 2
    try:
        step = import_module(f".{_MODULES.get(arguments[0], arguments[0])}", __package__)
    except ImportError as error:
        raise ImportError(f"training needs {error.name}: pip install 'pyenhance[train]'") from error
    step.main(arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
