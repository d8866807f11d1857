"""``csmri info NAME|FILE``: what a network costs, layer by layer, counted as the NasN paper does; what a file holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import nn

from csmri_ext.commands.parser import ArgumentParser, main_of
from csmri_ext.commands.plugin_option import add_plugin_option, load_plugins
from csmri_ext.commands.shared_options import add_common_options, add_json_option, as_json
from csmri_ext.commands.values import count, pixels
from csmri_ext.complexity import count_flops, count_parameters
from csmri_ext.errors import unknown
from csmri_ext.recon import methods
from csmri_ext.recon.network_method import Network
from csmri_ext.report.provenance_section import words

DEPTH = 2  # levels of the module tree that the table shows by default
_SIZE = 320  # of the images on which the NasN paper counts


def argument_parser(program: str = "csmri info") -> ArgumentParser:
    """Options of the command."""
    parser = ArgumentParser(
        program,
        "[NAME|FILE]",
        description="Show what a network costs: parameters and operations per slice; of a file of weights also what it "
        "is.",
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME|FILE", help="a network or a file of weights; without it, one line for each"
    )
    parser.add_argument("--size", type=pixels, nargs=2, default=(_SIZE, _SIZE), metavar=("NY", "NX"), help="image size")
    parser.add_argument("--depth", type=count, default=DEPTH, metavar="N", help="levels of layers to list")
    parser.add_argument("--model", metavar="NAME", help="the network of a file that does not say it")
    add_plugin_option(parser.add_argument)
    add_json_option(parser)
    add_common_options(parser, quiet=False)
    return parser


def _info(argv: Sequence[str], program: str) -> int:
    args = argument_parser(program).parse_args(argv)
    load_plugins(args.plugin)
    networks = {name: method.network for name in methods.names() if (method := methods.get(name)).network is not None}
    shape = (args.size[0], args.size[1])
    console = Console()
    if args.name is None:
        if args.json:
            sys.stdout.write(as_json([_entry(name, network, shape) for name, network in networks.items()]) + "\n")
        else:
            console.print(_overview(networks, shape))
        return 0
    told: list[str] = []
    if methods.is_file_of_weights(args.name):
        word = f"{args.model}={args.name}" if args.model else args.name
        found = methods.of_weights([word])[word].network
        assert found is not None
        network = found
        told.append(f"{args.name}: {network.told}")
        known = network.facts().items()
        told += [f"{name}: {words(value)}" for name, value in known if name not in ("method", "file", "parameters")]
    elif args.name in networks:
        network = networks[args.name]
        told += [f"{args.name}: {methods.get(args.name).description}", f"weights: {network.weights}"]
        if network.described is not None and network.described.overrides:
            changed = network.described.overrides.items()
            told.append("settings of the weights: " + ", ".join(f"{key} {words(value)}" for key, value in changed))
        if network.described is not None and network.described.data:
            told.append(f"trained on: {network.described.data}")
    else:
        raise unknown("network", args.name, networks, methods.readiness)
    if args.json:
        layers = [
            {"name": path, "type": type(layer).__name__, "parameters": count_parameters(layer)}
            for path, layer in _walk(network.module, args.depth)
        ]
        sys.stdout.write(as_json(_entry(args.name, network, shape) | {"layers": layers}) + "\n")
        return 0
    for line in told:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    console.print(_layers(network.module, shape, args.depth))
    return 0


def _entry(name: str, network: Network, shape: tuple[int, int]) -> dict[str, Any]:
    """Facts of a network for programs; operations are numbers, not giga."""
    facts = {key: value for key, value in network.facts().items() if key != "method"}
    flops = [count_flops(network.module, shape, relu=relu) for relu in (False, True)]
    return {"name": name, **facts, "size": list(shape), "flops": flops[0], "flops_with_relu": flops[1]}


def _overview(networks: dict[str, Network], shape: tuple[int, int]) -> Table:
    table = _table("network", shape)
    table.add_column("weights")
    for name, network in networks.items():
        table.add_row(name, *_costs(network.module, shape), "yes" if network.trained else "none: csmri train")
    return table


def _layers(model: nn.Module, shape: tuple[int, int], depth: int) -> Table:
    table = Table(caption=_rule(shape))
    table.add_column("layer")
    table.add_column("parameters", justify="right")
    for path, layer in _walk(model, depth):
        text = type(layer).__name__
        if not list(layer.children()):
            text = repr(layer)
        table.add_row("  " * path.count(".") + f"{path.rsplit('.', 1)[-1]}  {text}", f"{count_parameters(layer):,}")
    own = sum(p.numel() for p in model.parameters(recurse=False) if p.requires_grad)
    if own:
        table.add_row("scalars of the stages", f"{own:,}")
    table.add_section()
    parameters, flops, with_relu = _costs(model, shape)
    table.add_row("all", parameters)
    table.add_row("operations", flops)
    table.add_row("operations with ReLU", with_relu)
    return table


def _walk(model: nn.Module, depth: int) -> Iterator[tuple[str, nn.Module]]:
    for path, layer in model.named_modules():
        if path and path.count(".") < depth and count_parameters(layer):
            yield path, layer


def _costs(model: nn.Module, shape: tuple[int, int]) -> tuple[str, str, str]:
    flops = [f"{count_flops(model, shape, relu=relu) / 1e9:.3f} G" for relu in (False, True)]
    return f"{count_parameters(model):,}", flops[0], flops[1]


def _table(first: str, shape: tuple[int, int]) -> Table:
    table = Table(caption=_rule(shape))
    table.add_column(first)
    for title in ("parameters", "operations", "with ReLU"):
        table.add_column(title, justify="right")
    return table


def _rule(shape: tuple[int, int]) -> str:
    return (
        f"Operations on one slice of {shape[0]} x {shape[1]}: one per multiply-add and per bias of convolutions and "
        "linear layers, the second count with one per output of a ReLU (docs/models.md)"
    )


main = main_of(_info, "csmri info")
