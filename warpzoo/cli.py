"""The command ``warpzoo``.

Its options are the keys of the bundles' YAML and the arguments of functions, with what comments and docstrings say of
them. Neither torch nor MONAI is imported for help, completion or ``--version``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from custom_components.bundles.aliases import other_names
from custom_components.bundles.places import DEFAULT, find_bundle
from custom_components.bundles.presets import read_presets
from custom_components.common.console import LOG
from custom_components.common.errors import InputError, told_cause
from custom_components.common.version import VERSION
from warpzoo.options import Option, of_bundle, of_function, parse_value
from warpzoo.trust import check_trusted

METHOD = Option("method", DEFAULT, "the bundle, by name or path; `warpzoo bundles` lists them", "which method")
VERBOSE = Option("verbose", False, "also show warnings and what libraries say", "console")
TRUST = Option("trust", False, "run code of the command line ($...) and bundles of others", "files you don't know")
LIMITS = (
    Option("max_pixels", None, "of an image that is read whole; default what the free memory holds", TRUST.group),
    Option("detached", False, "read pixels of .mhd and .nhdr from the file beside that they name", TRUST.group),
    Option("fill_damaged", False, "fill damaged tiles of a slide in place of refusing it", TRUST.group),
)
READING = ("register", "cohort", "evaluate", "apply", "series", "view", "report", "train")
ONE = ("moving", "fixed", "pairs", "status", "processes", "scheduler", "submission", "resume")
MANY = (
    "pairs", "moving", "fixed", "id", "moving_landmarks", "fixed_landmarks", "moving_annotations", "fixed_annotations",
    "moving_labels", "fixed_labels", "moving_mask", "fixed_mask",
)  # fmt: skip
RUNS = ("register", "cohort", "evaluate")
SERIES = (*MANY, "status", "processes", "scheduler", "submission", "resume", "output_dir", "dataset_dir")


@dataclass(frozen=True)
class Form:
    """How a command is called.

    Attributes:
        places: names of the arguments without a name; the last may end in "..." for several.
        help: what the command does; the first line stands in the list of commands.
        options: its options, from the value of the option that chooses them.
        chooser: that option, such as ``--method``.
    """

    places: tuple[str, ...]
    help: str
    options: Callable[[str], list[Option]]
    chooser: Option | None = None


def _with_bundle(without: Sequence[str], more: Sequence[Option] = ()) -> Callable[[str], list[Option]]:
    return lambda method: [*more, *of_bundle(method, without=without)]


def _fixed(module: str, name: str, without: Sequence[str] = ()) -> Callable[[str], list[Option]]:
    return lambda _: of_function(module, name, without)


FORMS = {
    "register": Form(
        ("MOVING", "FIXED"),
        """Register one image onto another.

        MOVING is warped onto FIXED; the result lies in <output_dir>/<id>, its page is report.html there.""",
        _with_bundle(ONE), METHOD,
    ),
    "cohort": Form(
        ("TABLE",),
        """Register all pairs of a table.

        TABLE is CSV with the columns id, moving, fixed and optionally moving_landmarks, fixed_landmarks and others of a
        pair, paths relative to it. A second run goes on where the first one stopped.""",
        _with_bundle(MANY), METHOD,
    ),
    "evaluate": Form(
        ("TABLE",),
        """Register all pairs of a table anew and measure them.

        As cohort; besides, the form of the ANHIR challenge is written.""",
        _with_bundle((*MANY, "resume", "submission")), METHOD,
    ),
    "apply": Form(
        ("RESULT",),
        """Carry another image, points or annotations over with a result.

        RESULT is the folder of a pair, such as out/IHC_to_HE.""",
        _fixed("custom_components.commands.apply", "apply", ("field",)),
    ),
    "series": Form(
        ("IMAGES...",),
        """Bring more than two sections of a block into one frame.

        IMAGES are the sections in order, or a CSV table with the column image.""",
        lambda method: [
            *of_function("custom_components.series", "series", ("images", "bundle")), *of_bundle(method, without=SERIES)
        ],
        METHOD,
    ),
    "view": Form(
        ("RESULT",),
        """Write a page that zooms both images of a result together.""",
        _fixed("custom_components.commands.view", "view", ("folder",)),
    ),
    "report": Form(("RESULT",), """Say how good a result is, and write its page if there is none.""", lambda _: []),
    "train": Form(
        ("BUNDLE",),
        """Train the networks of a bundle.

        Everything is written into runs/<bundle>/<time>, nothing over the weights that WarpZoo brings.""",
        lambda config: of_bundle(_bundle_given(), config), Option("config", "train", "its config", "which training"),
    ),
    "pack": Form(
        ("BUNDLE",),
        """Write the form of a bundle that needs nothing beside it, for the model zoo.""",
        _fixed("custom_components.share.packing", "pack", ("bundle",)),
    ),
    "bundles": Form((), """List the bundles: what each is for and what its weights were trained on.""", lambda _: []),
    "doctor": Form((), """Check the installation: versions, device, weights, optional parts.""", lambda _: []),
}  # fmt: skip


def _bundle_given() -> str:
    """The bundle that ``warpzoo train`` names, the first argument that belongs to no option."""
    words = [word for word in sys.argv[2:] if not word.startswith("-")]
    for word in words:
        try:
            return str(find_bundle(word))
        except InputError:
            continue
    return words[0] if words else "patch_nonrigid"


class Command(click.Command):
    """A command whose options are looked up when it is called."""

    def __init__(self, name: str, form: Form) -> None:
        super().__init__(
            name, help=form.help, context_settings={"token_normalize_func": lambda text: text.replace("-", "_")}
        )
        self.form = form
        self.found: list[Option] = []

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Make the options, then parse."""
        form, chosen = self.form, ""
        if form.chooser is not None:
            flag = f"--{form.chooser.name}"
            chosen = str(form.chooser.default)
            for number, text in enumerate(args):
                if text == flag and number + 1 < len(args):
                    chosen = args[number + 1]
                elif text.startswith(f"{flag}="):
                    chosen = text.partition("=")[2]
        more = [form.chooser] if form.chooser is not None else []
        try:
            own = [*LIMITS, TRUST] if self.name in READING else []
            self.found = [*more, *form.options(chosen), *own, VERBOSE]
        except InputError as error:
            raise click.UsageError(str(error), ctx) from error
        arguments = [
            click.Argument([_plain(name)], nargs=-1 if name.endswith("...") else 1, metavar=name, required=True)
            for name in form.places
        ]
        self.params = [*arguments, *map(_click_option, self.found)]
        if form.chooser is METHOD:
            self.params.append(
                click.Option(["--set", "set_"], nargs=2, multiple=True, metavar="KEY VALUE", help="a deeper key, a::b")
            )
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options under the headings of the YAML."""
        groups: dict[str, list[tuple[str, str]]] = {}
        titles = {option.name: option.group for option in self.found}
        for parameter in self.get_params(ctx):
            record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(titles.get(str(parameter.name), "") or "options", []).append(record)
        for title, records in groups.items():
            with formatter.section(title[:1].upper() + title[1:]):
                formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> int:
        """Run it; what is wrong is told in one line."""
        known = {option.name: option for option in self.found}
        options = {
            name: parse_value(known[name], value)
            for name, value in ctx.params.items()
            if name in known and ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        }
        verbose = options.pop("verbose", False) in (True, "true")
        trust = options.pop("trust", False) in (True, "true")
        limits = {option.name: options.pop(option.name, None) for option in LIMITS}
        chooser = self.form.chooser
        chosen = {chooser.name: str(options.pop(chooser.name, chooser.default))} if chooser else {}
        options |= {key: parse_value(Option(key, None, ""), value) for key, value in ctx.params.get("set_", ())}
        places = tuple(text for name in self.form.places for text in _several(ctx.params[_plain(name)]))
        if not trust:
            try:
                check_trusted(str(self.name), places, chosen, options)
            except InputError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
        return start(str(self.name), places, chosen, options, verbose, limits)


def _plain(place: str) -> str:
    return place.rstrip(".").lower()


def _several(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, tuple) else (str(value),)


def _shown(default: Any) -> str:
    """A default as help shows it, and what each word of another option sets it to."""
    presets = read_presets(default)
    if presets is not None:
        values = (", ".join(value) if isinstance(value, list) else _shown(value) for value in presets.values.values())
        return f"by --{presets.key}: " + "; ".join(
            f"{word} {value}" for word, value in zip(presets.values, values, strict=True)
        )
    if default is None or default == "" or (isinstance(default, str) and default[:1] in "$@"):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def _click_option(option: Option) -> click.Option:
    default, shown = option.default, _shown(option.default)
    flags = [f"--{option.name}", *(f"--{name}" for name in other_names(option.name))]
    shown = f" [{shown}]" if shown else ""
    presets = read_presets(default)
    if isinstance(default if presets is None else next(iter(presets.values.values())), bool):
        return click.Option(
            [option.name, *flags], is_flag=False, flag_value="true", default=None, metavar="[true|false]",
            help=f"{option.meaning}{shown}",
        )  # fmt: skip
    return click.Option([option.name, *flags], default=None, metavar="VALUE", help=f"{option.meaning}{shown}")


class Commands(click.Group):
    """All commands, each made when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a user needs them."""
        return list(FORMS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them."""
        return Command(cmd_name, FORMS[cmd_name]) if cmd_name in FORMS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """An unknown command names the one that was perhaps meant."""
        if args and args[0] not in FORMS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], FORMS, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(FORMS)}"
            raise click.UsageError(f"unknown command '{args[0]}'; {hint}", ctx)
        return super().resolve_command(ctx, args)


def start(
    command: str, places: tuple[str, ...], chosen: dict[str, str], options: dict[str, Any], verbose: bool,
    limits: Mapping[str, Any] | None = None,
) -> int:  # fmt: skip
    """Run a command; returns its exit code."""
    from custom_components.common.limits import applied
    from custom_components.common.stopping import stopped_by_signals

    try:
        if command == "bundles":
            from warpzoo.listing import list_bundles

            list_bundles()
            return 0
        from warpzoo import quiet, startup

        if command in RUNS:  # whose first pair ends what begins here
            startup.begin(sys.argv[1:])
        stopping = stopped_by_signals("finished pairs are whole; the same command resumes with the others")
        with stopping, applied(**(limits or {})):
            quiet.libraries(verbose)
            from warpzoo import commands

            work: Callable[..., int | None] = getattr(commands, command)
            given: dict[str, Any] = {"options": options} if command not in ("report", "doctor") else {}
            return work(*([places] if places else []), **chosen, **given) or 0
    except Exception as error:
        told = told_cause(error)
        if told is None:
            print(f"error: unexpected {type(error).__name__}: {error}; {_kept(error)}", file=sys.stderr)
        else:
            print(f"error: {told}", file=sys.stderr)
        return 1


def _kept(error: Exception) -> str:
    """Where the traceback of an unexpected error was written."""
    from traceback import format_exception

    text = "".join(format_exception(error))
    try:
        with open(LOG, "a", encoding="utf-8") as file:
            file.write(f"warpzoo {VERSION}, {' '.join(sys.argv[1:])}\n{text}\n")
    except OSError:
        return f"its traceback:\n{text}"
    return f"its traceback is in {LOG}, which helps whoever reads your report of it"


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(VERSION, prog_name="warpzoo")
def cli() -> None:
    """Register images of the same tissue or subject, carry annotations over, and see how good it is.

    warpzoo COMMAND --help says what a command takes.
    """


def main() -> None:
    """The console script: exit code 0 where it went well, 1 where an input is wrong, 2 where an option is."""
    try:
        code = cli.main(prog_name="warpzoo", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        code = 0
    except click.ClickException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        code = 2
    except click.Abort:
        code = 130
    sys.exit(int(code or 0))
