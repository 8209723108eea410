"""The commands `rlm-otel traces`, `cost` and `ps`: everything in the terminal, with or without Docker."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import click

from rlm_otel.views.durations import EXAMPLES, seconds_of

Command = TypeVar("Command", bound=Callable[..., None])

_KEY: Final = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_TRACE_ID: Final = re.compile(r"[0-9a-f]{1,32}")


def _seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """Of a duration such as `1h30m`."""
    if text is None:
        return None
    seconds = seconds_of(text)
    if not seconds:
        raise click.BadParameter(f"{text} is no duration: {EXAMPLES}.")
    return seconds


def _keys(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    keys = tuple(dict.fromkeys(key.strip() for key in text.split(",")))
    if not all(map(_KEY.fullmatch, keys)):
        raise click.BadParameter(f"{text} is no list of names: write it like team,model.")
    return keys


def _since(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--since",
        callback=_seconds,
        metavar="DURATION",
        default=default,
        show_default=True,
        help="How far back to look.",
    )


@click.command()
@click.option("--service", metavar="NAME", help="Traces of this service; without it, of all.")
@click.option(
    "--since", callback=_seconds, metavar="DURATION", default="1h", show_default=True, help="How far back to look."
)
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many traces at most.")
@click.option("--errors", is_flag=True, help="Only those in which something failed.")
@click.option("--slow", callback=_seconds, metavar="DURATION", help="Only those in which something took this long.")
@click.option("--model", metavar="NAME", help="Only those that call this model (with --errors, --slow: such a call).")
@click.option("--trace", "trace_id", metavar="ID", help="This one trace.")
@click.option("--json", "as_json", is_flag=True, help="Everything that is known of each span, as JSON.")
@click.option("--jaeger", metavar="URL", default="http://127.0.0.1:16686", show_default=True, help="Where Jaeger is.")
def traces(
    service: str | None,
    since: float,
    limit: int,
    errors: bool,
    slow: float | None,
    model: str | None,
    trace_id: str | None,
    as_json: bool,
    jaeger: str,
) -> None:
    """Show traces from Jaeger as trees, the newest last."""
    if trace_id is not None and not _TRACE_ID.fullmatch(trace_id := trace_id.lower()):
        raise click.BadParameter(f"{trace_id} is no trace id: it has up to 32 hex digits.", param_hint="--trace")

    from rlm_otel.clock import SYSTEM_CLOCK
    from rlm_otel.views import show_traces
    from rlm_otel.views.backend import Backend
    from rlm_otel.views.jaeger import connect, find, one
    from rlm_otel.views.traces import Found, Wanted

    backend = Backend("Jaeger", "--jaeger", 16686, jaeger)
    now_ns = SYSTEM_CLOCK.wall_ns()
    start_ns = now_ns - round(since * 1e9)
    wanted = Wanted(start_ns=start_ns, end_ns=now_ns, errors=errors, slow_s=slow, model=model)
    with _one_line():
        api, services = connect(backend)
        if trace_id is not None:
            found = Found((one(api, trace_id),))
        else:
            found = find(api, services, service, wanted, limit)
    if as_json:
        show_traces.write_json(found.traces, sys.stdout)
    else:
        show_traces.show(found, backend, sys.stdout)
    for line in show_traces.remarks(found, wanted, backend):
        click.echo(line, err=True)


@click.command()
@click.option(
    "--since", callback=_seconds, metavar="DURATION", default="30d", show_default=True, help="How far back to look."
)
@click.option(
    "--by",
    callback=_keys,
    default="model",
    show_default=True,
    metavar="KEYS",
    help="What to group by: model, provider, service, environment, and labels of your own such as team, feature.",
)
@click.option("--csv", "as_csv", is_flag=True, help="As CSV.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--prometheus", metavar="URL", default="http://127.0.0.1:9090", show_default=True, help="Where Prometheus is."
)
def cost(since: float, by: tuple[str, ...], as_csv: bool, as_json: bool, prometheus: str) -> None:
    """Show what model calls cost, from Prometheus, and how many calls could not be priced."""
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other: give one of them.")

    from rlm_otel.clock import SYSTEM_CLOCK
    from rlm_otel.views import show_cost
    from rlm_otel.views.backend import Backend
    from rlm_otel.views.cost import spent
    from rlm_otel.views.prometheus import Prometheus

    backend = Backend("Prometheus", "--prometheus", 9090, prometheus)
    with _one_line():
        answer = spent(Prometheus(backend), by, now_s=SYSTEM_CLOCK.wall_ns() / 1e9, since_s=since)
    if as_json:
        sys.stdout.write(show_cost.cost_json(answer, sys.stdout.encoding))
    elif as_csv:
        sys.stdout.write(show_cost.csv_text(answer))
        for note in show_cost.notes(answer):
            click.echo(note, err=True)
    else:
        show_cost.show(answer, sys.stdout)


@click.command()
@click.option("--watch", is_flag=True, help="Again each second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Everything that is known, as JSON.")
@click.option("--all", "everything", is_flag=True, help="More than ten operations of one parent, too.")
def ps(watch: bool, as_json: bool, everything: bool) -> None:
    """Show the runs and calls that are open just now in all processes of this user, without any collector."""
    from rlm_otel.views.processes import can_ask
    from rlm_otel.views.watching import Look, look_once, look_until_told

    if not can_ask():
        raise click.ClickException("this system has no Unix sockets, by which processes are asked.")
    look = Look(sys.stdout, os.environ, as_json=as_json, everything=everything)
    if watch:
        look_until_told(look)
    else:
        look_once(look)


@contextmanager
def _one_line() -> Iterator[None]:
    """What goes wrong is told without a traceback; exit code 1."""
    from rlm_otel.callbacks.printing import plain
    from rlm_otel.views.backend import ViewError

    try:
        yield
    except ViewError as error:
        raise click.ClickException(f"{plain(str(error))}.") from None
