"""`pyenhance federated ...`: what many devices learn together, simulated, and of the files that devices give."""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..federated import CHOICES
from .terminal import EXIT_FAILED, EXIT_OK, Progress, Signals

if TYPE_CHECKING:
    from ..federated.simulate import Settings

_NUMBERS: dict[str, tuple[type, str]] = {
    "clients": (int, "by default as many as there are speakers"),
    "alpha": (float, "of the Dirichlet partitions: the smaller, the less alike clients are"),
    "window": (float, "continual: how long a recording is kept, as a share of the rounds"),
    "rounds": (int, ""),
    "per_round": (int, "clients asked in a round; with a budget, on average"),
    "rate": (float, "of a client's steps"),
    "epochs": (int, "a client's, each round"),
    "batch": (int, "frames a step"),
    "proximal_mu": (float, "of FedProx"),
    "server_rate": (float, "of FedAdam"),
    "seed": (int, "of the first run"),
    "dp_epsilon": (float, "budget of a speaker's differential privacy over all rounds"),
    "dp_delta": (float, "of the budget"),
    "dp_noise": (float, "noise multiplier, in the place of the least that the budget allows"),
    "clip": (float, "largest norm of a client's update, with a budget"),
}

_PRIVATE = ("dp_epsilon", "dp_delta", "dp_noise", "clip")
_SEVERAL = ("setting", "partition", "strategy", "selection")
_SHOWN_ROUNDS = (0, 10, 20, 40, 100)


def add(commands: Any) -> None:
    """Add ``federated`` and its actions to the command line."""
    federated = commands.add_parser("federated", help="learn from many devices without their sound")
    actions = federated.add_subparsers(required=True, metavar="ACTION")
    _add_prepare(actions)
    _add_simulate(actions)
    _add_attack(actions)
    _add_export(actions)
    _add_aggregate(actions)


def _add_prepare(actions: Any) -> None:
    prepare = actions.add_parser("prepare", help="speakers of a corpus and their places, as a model's heads see them")
    prepare.add_argument("--data", type=Path, required=True, help="corpus: a folder with the manifests")
    _add_model(prepare, "--model")
    prepare.add_argument("--groups", nargs="+", default=["permissive", "gpl", "restricted"], help="licences")
    prepare.add_argument("--speakers", type=int, help="at most, of each split")
    prepare.add_argument("--speaker-s", type=float, default=120.0, help="seconds of each who takes part, at most (120)")
    prepare.add_argument("--seed", type=int, default=0)
    prepare.add_argument("--pairs", type=Path, metavar="DIR", help="also write mixes of those who are held out")
    prepare.add_argument("-o", "--output", type=Path, required=True, metavar="POPULATION", help="an .npz file")
    prepare.add_argument("--force", action="store_true", help="overwrite")
    prepare.set_defaults(run=_prepare)


def _add_simulate(actions: Any) -> None:
    simulate = actions.add_parser(
        "simulate",
        help="federated rounds over such speakers",
        description="Federated rounds over the speakers of a population, by Flower. Where several settings, "
        "partitions, strategies, selections or budgets are named, every combination runs, with the same seeds, and the "
        "table has paired intervals.",
    )
    simulate.add_argument("population", type=Path, metavar="POPULATION", help="of pyenhance federated prepare")
    for name, choices in CHOICES.items():
        several = {"nargs": "+"} if name in _SEVERAL else {}
        simulate.add_argument(f"--{name}", choices=choices, **several)
    _add_numbers(simulate, several=("dp_epsilon",))
    simulate.add_argument("--unweighted", action="store_true", help="clients count alike, however much they have")
    simulate.add_argument("--seeds", type=int, default=1, help="runs of each combination")
    simulate.add_argument("--central-epochs", type=int, default=0, help="also learn from all data in one place")
    simulate.add_argument("-o", "--output", type=Path, help="all facts (JSON)")
    simulate.add_argument(
        "--record", type=Path, metavar="FILE", help="with budgets: also without one, and write down what is kept (JSON)"
    )
    simulate.add_argument("--write-model", type=Path, metavar="NEW", help="what the first run learnt (.safetensors)")
    _add_model(simulate, "--base")
    simulate.add_argument("--force", action="store_true", help="overwrite")
    simulate.set_defaults(run=_simulate)


def _add_numbers(parser: argparse.ArgumentParser, several: tuple[str, ...] = ()) -> None:
    for name, (kind, words) in _NUMBERS.items():
        count: dict[str, Any] = {"nargs": "+"} if name in several else {}
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=words or None, **count)


def _add_attack(actions: Any) -> None:
    attack = actions.add_parser(
        "attack",
        help="what models and updates give away of speakers",
        description="Attacks models of federated rounds, without and (--dp-epsilon, --clip) with a budget: who took "
        "part, and what is left of planted secrets; and single updates: whose they are, and what was said.",
    )
    attack.add_argument("population", type=Path, metavar="POPULATION", help="of pyenhance federated prepare")
    _add_numbers(attack)
    attack.add_argument("--runs", type=int, default=8, help="models of each kind, each a target and a shadow (8)")
    attack.add_argument("--canaries", type=int, default=4, help="speakers with a planted secret in each run (4)")
    attack.add_argument(
        "--noise", type=float, nargs="*", default=[0.0, 0.1, 1.0], help="of updates, in clips; none: rounds alone"
    )
    attack.add_argument("--update-clip", type=float, default=1.0, help="largest norm of an update that is attacked (1)")
    attack.add_argument("-o", "--output", type=Path, help="all facts (JSON)")
    attack.add_argument("--record", type=Path, metavar="FILE", help="write them down beside the model cards (JSON)")
    attack.add_argument("--force", action="store_true", help="overwrite")
    attack.set_defaults(run=_attack)


def _add_export(actions: Any) -> None:
    export = actions.add_parser(
        "export",
        help="what a device may give away of what pyenhance adapt learnt",
        description="A clipped and noised change of the heads: no sound, no name. Nothing is sent anywhere.",
    )
    export.add_argument("diff", type=Path, metavar="DIFF", help="of pyenhance adapt")
    _add_model(export, "--base")
    _add_terms(export)
    export.add_argument("-o", "--output", type=Path, required=True, metavar="UPDATE")
    export.add_argument("--force", action="store_true", help="overwrite")
    export.add_argument("--json", action="store_true", help="print one JSON object")
    export.set_defaults(run=_export)


def _add_aggregate(actions: Any) -> None:
    aggregate = actions.add_parser(
        "aggregate",
        help="a model of the updates of many devices",
        description="A model, or a diff to it, of many updates, which count alike. Updates that cannot be used are "
        "named and left out. With --pairs the result is written only if it may replace the base.",
    )
    aggregate.add_argument("updates", nargs="+", type=Path, metavar="UPDATE")
    _add_model(aggregate, "--base")
    _add_terms(aggregate)
    aggregate.add_argument("--trim", type=float, default=0.0, help="share of outliers to leave out at either end")
    aggregate.add_argument("--pairs", type=Path, help="gate it on these clips, see pyenhance model gate")
    aggregate.add_argument("--workers", type=int, help="processes of the gate (one a core)")
    aggregate.add_argument("-o", "--output", type=Path, required=True, metavar="NEW", help=".safetensors or .diff")
    aggregate.add_argument("--force", action="store_true", help="overwrite")
    aggregate.add_argument("--json", action="store_true", help="print one JSON object")
    aggregate.set_defaults(run=_aggregate)


def _add_model(parser: argparse.ArgumentParser, option: str) -> None:
    parser.add_argument(option, default="default", help="a shipped model's name or a weights file")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="of a weights file: see pyenhance train summary")


def _add_terms(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clip", type=float, required=True, help="largest norm of a device's change")
    parser.add_argument("--noise", type=float, default=0.0, help="of a device, in units of the clip")


def _summary(path: Path | None, model: str) -> bytes:
    from ..model.summary import shipped_summary

    return path.read_bytes() if path else shipped_summary(model)


def _unwritten(path: Path, force: bool) -> None:
    if path.exists() and not force:  # told before the work
        raise FileExistsError(f"{path} exists; --force overwrites it")


def _prepare(arguments: argparse.Namespace) -> int:
    from ..federated.population import prepare, write_population

    _unwritten(arguments.output, arguments.force)
    with Signals() as signals, Progress("prepare", quiet=False, unit="speaker") as progress:
        population = prepare(
            arguments.data,
            arguments.model,
            groups=tuple(arguments.groups),
            speakers=arguments.speakers,
            speaker_s=arguments.speaker_s,
            seed=arguments.seed,
            pairs=arguments.pairs,
            summary=_summary(arguments.summary, arguments.model),
            on_progress=signals.checked(progress.update),
        )
        signals.check()
    write_population(population, arguments.output, force=arguments.force)
    speakers, clips = len(set(population.speaker.tolist())), len(population.ends)
    print(f"{arguments.output}: {speakers} speakers, {clips} clips, {population.ends[-1]:,} frames")
    return EXIT_OK


def _simulate(arguments: argparse.Namespace) -> int:
    from ..evaluate.trust import read_trust, record
    from ..federated.simulate import central, changed_model, kept_of_budgets, model_of, simulate
    from ..model.diff import write_whole

    for path in (arguments.output, arguments.write_model):
        if path:
            _unwritten(path, arguments.force)
    if arguments.record:
        if not arguments.dp_epsilon:
            raise ValueError("--record writes down what budgets keep; accepted: with --dp-epsilon")
        read_trust(arguments.record)
    combinations = list(_combinations(arguments))
    if arguments.write_model:
        base = model_of(arguments.population, arguments.base)
    runs: list[dict[str, Any]] = []
    with Signals(), Progress("simulate", quiet=False, unit="run") as progress:
        for settings in combinations:
            facts, change = simulate(arguments.population, settings)
            if arguments.write_model and not runs:
                new = changed_model(change, base, _summary(arguments.summary, arguments.base))
                write_whole(arguments.write_model, new, force=arguments.force)
            runs.append(facts)
            progress.update(len(runs), len(combinations))
    result: dict[str, Any] = {"runs": runs}
    if arguments.central_epochs:
        result["central"] = central(arguments.population, combinations[0], arguments.central_epochs)
    print(as_text(result))
    if arguments.record:
        record(arguments.record, "privacy", "federated", kept_of_budgets(runs))
    if arguments.output:
        write_whole(arguments.output, (json.dumps(result, indent=1) + "\n").encode(), force=arguments.force)
    return EXIT_OK


def _attack(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from ..evaluate.trust import read_trust, record
    from ..federated.attack import attack_rounds, attack_updates
    from ..federated.simulate import Settings
    from ..model.diff import write_whole

    if arguments.output:
        _unwritten(arguments.output, arguments.force)
    if arguments.record:
        read_trust(arguments.record)
    given = {name: getattr(arguments, name) for name in _NUMBERS if getattr(arguments, name) is not None}
    kinds = {"plain": Settings(**{k: v for k, v in given.items() if k not in _PRIVATE}, weighted=False)}
    if arguments.dp_epsilon is not None:
        kinds["private"] = replace(kinds["plain"], **{k: v for k, v in given.items() if k in _PRIVATE})
    facts: dict[str, Any] = {}
    with Signals(), Progress("attack", quiet=False, unit="run") as progress:
        if arguments.noise:  # first, as it is soon told where a population cannot be used
            facts["updates"] = attack_updates(
                arguments.population, clip=arguments.update_clip, noises=arguments.noise, seed=kinds["plain"].seed
            )
        for kind, settings in kinds.items():
            options = {"runs": arguments.runs, "canaries": arguments.canaries}
            facts[kind] = attack_rounds(arguments.population, settings, **options, on_progress=progress.update)
    print(attacks_as_text(facts))
    if arguments.output:
        write_whole(arguments.output, (json.dumps(facts, indent=1) + "\n").encode(), force=arguments.force)
    if arguments.record:
        for name, found in facts.items():
            record(arguments.record, "leakage", name, found if isinstance(found, dict) else {"rows": found})
    return EXIT_OK


def attacks_as_text(facts: dict[str, Any]) -> str:
    """The tables of attacks: a row a kind of rounds, and a row a noise multiplier of updates."""

    def span(found: dict[str, float], key: str) -> str:
        return f"{found[key]:.3f} ({found['low']:.3f} to {found['high']:.3f})"

    heads = ("by loss, AUC", "by fall of loss", "by shadow models", "white box", "exposure, bits", "gain loss")
    lines = [f"{'rounds':10}" + "".join(f"{head:>26}" for head in heads)]
    for kind, found in facts.items():
        if kind == "updates":
            continue
        cells = [span(found[name], "auc") for name in ("loss", "calibrated", "shadow", "white_box")] + [
            span(found["exposure"], "bits"),
            "{before:.4f} -> {after:.4f}".format(**found["gain_loss"]),
        ]
        lines.append(f"{kind:10}" + "".join(f"{cell:>26}" for cell in cells))
        if "epsilon" in found:
            lines.append(f"  epsilon {found['epsilon']:.3g}, noise multiplier {found['noise_multiplier']:.3g}")
        lines.append(
            f"  by chance: shadow models {span(found['chance'], 'auc')}; exposure {found['exposure']['chance']:.2f}"
        )
    if "updates" not in facts:
        return "\n".join(lines)
    of_updates = ("named", "by chance", "a frame, r", "a clip's mean, r", "another's, r")
    lines.append(f"{'noise':10}" + "".join(f"{head:>26}" for head in of_updates))
    for row in facts["updates"]:
        cells = [f"{row['named']:.3f} ({row['named_low']:.3f} to {row['named_high']:.3f})"]
        cells += [f"{row['named_chance']:.3f}", f"{row['frame']:.3f}"]
        cells += [f"{row['clip_mean']:.3f} ({row['clip_low']:.3f} to {row['clip_high']:.3f})", f"{row['other']:.3f}"]
        lines.append(f"{row['noise_multiplier']:<10g}" + "".join(f"{cell:>26}" for cell in cells))
    return "\n".join(lines)


def _combinations(arguments: argparse.Namespace) -> "Iterator[Settings]":
    """Settings of each run; ValueError before any of them runs."""
    from ..federated.simulate import Settings

    named = {field.name: getattr(arguments, field.name, None) for field in fields(Settings)}
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    given["weighted"] = not arguments.unweighted
    first = given.pop("seed", Settings.seed)
    choices = product(*(given.pop(name, [getattr(Settings, name)]) for name in _SEVERAL))
    budgets = [None, *arguments.dp_epsilon] if arguments.record else given.get("dp_epsilon", [None])
    public = {name: value for name, value in given.items() if name not in _PRIVATE}
    for chosen, budget in product(choices, budgets):
        own = public if arguments.record and budget is None else given | {"dp_epsilon": budget}
        for seed in range(first, first + arguments.seeds):
            yield Settings(**own, **dict(zip(_SEVERAL, chosen, strict=True)), seed=seed)


def as_text(result: dict[str, Any]) -> str:
    """The table of runs: a row a combination, means over seeds, and how much better each is than the first."""
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for facts in result["runs"]:
        key = (*(facts["settings"][name] for name in _SEVERAL), str(facts["settings"]["dp_epsilon"]))
        rows.setdefault(key, []).append(facts)
    lines = [
        "".join(f"{name:12}" for name in _SEVERAL)
        + f"{'runs':>5}{'clients':>9}{'rounds':>8}"
        + "".join(f"{f'loss {shown}':>10}" for shown in _SHOWN_ROUNDS)
        + f"{'at last':>10}{'MB up':>8}{'failed':>8}"
    ]
    for key, runs in rows.items():
        rounds = runs[0]["rounds"]
        losses = [_mean(run["losses"][i]["gain"] for run in runs) if i <= rounds else None for i in _SHOWN_ROUNDS]
        losses.append(_mean(run["losses"][-1]["gain"] for run in runs))
        up, failed = _mean(run["bytes_up"] / 1e6 for run in runs), _mean(run["failures"] for run in runs)
        lines.append(
            "".join(f"{name:12}" for name in key[:-1])
            + f"{len(runs):>5}{runs[0]['clients']:>9}{rounds:>8}"
            + "".join(f"{'-':>10}" if loss is None else f"{loss:>10.4f}" for loss in losses)
            + f"{up:>8.1f}{failed:>8.1f}"
        )
        if "epsilon" in runs[0]:
            privacy = f"epsilon {runs[0]['epsilon']:.3g}, noise multiplier {runs[0]['noise_multiplier']:.3g}"
            lines.append(f"  {privacy}, after {rounds} rounds")
    if len({budget for *_, budget in rows}) == 1:
        lines += _compared({key[:-1]: runs for key, runs in rows.items()})
    if "central" in result:
        lines.append(f"all data in one place: gain loss {result['central']['gain']:.4f}")
    return "\n".join(lines)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _compared(rows: dict[tuple[str, ...], list[dict[str, Any]]]) -> list[str]:
    """A line for each row but the first of its setting: how much better it is than that one, by what sets it apart."""
    from ..federated.simulate import paired

    lines = []
    for setting in dict.fromkeys(setting for setting, *_ in rows):
        first, *others = (key for key in rows if key[0] == setting)
        for key in others:
            gain = paired(*([run["losses"][-1]["gain"] for run in rows[one]] for one in (first, key)))
            apart = [(new, old) for new, old in zip(key, first, strict=True) if new != old]
            new, old = map(" ".join, zip(*apart, strict=True))
            lines.append(
                f"{setting}: {new} is {gain['mean']:+.5f} better than {old} "
                f"({gain['low']:+.5f} to {gain['high']:+.5f}, pairs by seed)"
            )
    return lines


def _export(arguments: argparse.Namespace) -> int:
    from ..federated.update import describe, make_update, read_update
    from ..model.diff import weights_bytes, write_whole

    data = make_update(
        weights_bytes(arguments.base),
        arguments.diff.read_bytes(),
        _summary(arguments.summary, arguments.base),
        clip=arguments.clip,
        noise_multiplier=arguments.noise,
    )
    facts = describe(read_update(data), data)
    write_whole(arguments.output, data, force=arguments.force)
    if arguments.json:
        print(json.dumps(facts, indent=1))
        return EXIT_OK
    print(f"{arguments.output}: {facts['bytes']:,} bytes, {facts['numbers']:,} numbers, norm {facts['norm']:.3g}")
    if facts["epsilon"] is None:
        print("no noise: whoever reads this file can tell what was learnt of voice and room; there is no epsilon")
    else:
        print(f"by itself it costs epsilon {facts['epsilon']:.3g} (delta {facts['delta']:g})")
    return EXIT_OK


def _aggregate(arguments: argparse.Namespace) -> int:
    from ..federated.aggregate import aggregate
    from ..model.diff import make_diff, weights_bytes, write_whole

    _unwritten(arguments.output, arguments.force)
    if arguments.output.suffix not in (".safetensors", ".diff"):
        raise ValueError(f"{arguments.output}: accepted: a name that ends in .safetensors (a model) or .diff")
    base = weights_bytes(arguments.base)
    result = aggregate(
        base,
        {str(path): path.read_bytes() for path in arguments.updates},
        _summary(arguments.summary, arguments.base),
        clip=arguments.clip,
        noise_multiplier=arguments.noise,
        trim=arguments.trim,
    )
    for name, reason in result.rejected.items():
        print(f"{name}: left out: {reason}", file=sys.stderr)
    facts: dict[str, Any] = {"accepted": result.accepted, "rejected": result.rejected}
    if arguments.pairs:
        verdict = _gate(arguments, result.weights)
        facts["verdict"] = verdict["verdict"]
        if not verdict["passed"]:
            print(verdict["verdict"], file=sys.stderr)
            return EXIT_FAILED
    data = result.weights if arguments.output.suffix == ".safetensors" else make_diff(base, result.weights)
    write_whole(arguments.output, data, force=arguments.force)
    if arguments.json:
        print(json.dumps(facts, indent=1))
        return EXIT_OK
    print(f"{arguments.output}: {len(data):,} bytes, of {len(result.accepted)} updates")
    if "verdict" in facts:
        print(facts["verdict"])
    return EXIT_OK


def _gate(arguments: argparse.Namespace, weights: bytes) -> dict[str, Any]:
    from ..evaluate import load_pairs
    from ..evaluate.gate import gate

    pairs = load_pairs(arguments.pairs)
    with tempfile.TemporaryDirectory() as folder, Progress("gate", quiet=arguments.json, unit="clip") as progress:
        new = Path(folder) / f"{arguments.output.stem}.safetensors"
        new.write_bytes(weights)
        return gate(arguments.base, str(new), pairs, workers=arguments.workers, on_progress=progress.update)
