"""``provision microkernel``, ``tftp`` and ``dhcp``: what a site needs so that its machines boot from the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sretoolkit.cli.provision import provision_command


@provision_command.command("microkernel")
@click.option("--arch", type=click.Choice(["x86_64", "arm64"]), default="x86_64", show_default=True)
@click.option(
    "--flavour", default="", help='Debian\'s kernel: "amd64" for any machine, "cloud-amd64" for virtual ones.'
)
@click.option("--kernel", type=click.Path(path_type=Path, exists=True), help="A kernel package or folder, instead.")
@click.option("--busybox", type=click.Path(path_type=Path, exists=True), help="A static busybox, or its package.")
@click.option("--out", type=click.Path(path_type=Path), help="The folder; the server's own without it.")
def microkernel_command(arch: str, flavour: str, kernel: Path | None, busybox: Path | None, out: Path | None) -> None:
    """Build the microkernel: from Debian's kernel and busybox, the same bytes from the same packages."""
    from sretoolkit.provision.microkernel.build import build

    built = build(out or _folder() / "microkernel", arch=arch, flavour=flavour, kernel=kernel, busybox=busybox)
    click.echo(f"{built.kernel} and {built.initrd.name}: Linux {built.version}, {built.bytes / 1e6:.1f} MB together")


@provision_command.command("tftp")
@click.option("--out", type=click.Path(path_type=Path), help="The folder; the server's own without it.")
def tftp_command(out: Path | None) -> None:
    """Make the TFTP folder: iPXE, PXELINUX, GRUB, shim from Debian's packages, the first script. Says what is missing."""
    from sretoolkit.config import Config
    from sretoolkit.errors import ConfigError
    from sretoolkit.provision.tftp import TftpFolder

    config = Config.load()
    if not config["provision.url"]:
        raise ConfigError(
            "provision.url is not set: machines would not know whom to ask",
            hint='provision.url = "http://10.0.0.2:8080"',
        )
    folder = out or _folder() / "tftp"
    missing = TftpFolder(folder).make(
        str(config["provision.url"]), microkernels=_folder() / "microkernel", consoles=config["provision.consoles"]
    )
    click.echo(f"made {folder}")
    for name, package in missing.items():
        click.echo(f"missing: {name} (apt-get install {package})")


@provision_command.command("dhcp")
@click.argument("server", type=click.Choice(["dnsmasq", "isc-dhcpd", "kea"]))
@click.option("--interface", required=True, help="Where it listens.")
@click.option("--tftp", required=True, help="The TFTP server's IPv4 address.")
@click.option("--network", required=True, help="The machines' network: 10.0.0.0/24.")
@click.option("--first", default="", help="The first address to give out; none: another DHCP server does (proxyDHCP).")
@click.option("--last", default="", help="The last one.")
@click.option("--router", default="", help="The machines' router.")
@click.option("--dns", default="", help="Their name server.")
@click.option("--prefix6", default="", help="An IPv6 network to announce: saves ten seconds at every boot.")
@click.option("--secure-boot", is_flag=True, help="UEFI machines get the signed shim and GRUB.")
@click.option("--bios", type=click.Choice(["ipxe", "pxelinux"]), default="ipxe", help="What BIOS machines load.")
def dhcp_command(server: str, **options: Any) -> None:
    """Print the configuration of SERVER (dnsmasq), or what to add to one that is there (isc-dhcpd, kea)."""
    from sretoolkit.config import Config
    from sretoolkit.provision import dhcp

    config = Config.load()
    api = str(config["provision.url"]) or "http://localhost:8080"
    site = dhcp.Site(api=api, folder=str(_folder() / "tftp"), state=str(_folder()), **options)
    made = {"dnsmasq": dhcp.dnsmasq, "isc-dhcpd": dhcp.isc_dhcpd, "kea": dhcp.kea}[server]
    click.echo(made(site), nl=False)


def _folder() -> Path:
    from sretoolkit.config import Config

    return Path(Config.load()["provision.folder"])
