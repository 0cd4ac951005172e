"""How a network's DHCP leads machines to their boot loader: dnsmasq's configuration, and what to add to ISC dhcpd or Kea."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.boot import checked_path, checked_url

_INTERFACE = re.compile(r"[A-Za-z0-9._-]{1,15}")
# DHCP's numbers of what a machine is (RFC 4578 and IANA): the two x86_64 ones are both in use
_BIOS, _X86_64, _ARM64, _HTTP_X86_64, _HTTP_ARM64 = (0,), (7, 9), (11,), (16,), (19,)

BIOS_LOADERS = {"ipxe": "undionly.kpxe", "pxelinux": "pxelinux.0"}
# all that another server's iPXE is told: that there is no proxyDHCP to wait for (option 175.176)
_NO_PROXY = bytes([176, 1, 1])


@dataclass(frozen=True, kw_only=True)
class Site:
    """One network whose machines boot from us.

    ``api``: the server's address; ``tftp``: the IPv4 address of the TFTP server; ``interface``: where dnsmasq listens.
    ``first`` and ``last``: the addresses that it gives out; empty when another DHCP server does that (proxyDHCP), and then
    ``network`` is enough. ``prefix6``: an IPv6 network that the interface has an address of: it is announced, or every iPXE
    waits ten seconds for an announcement that never comes. ``secure_boot``: UEFI machines of x86_64 get the signed shim and
    GRUB instead of iPXE, which nobody has signed. ``bios``: what BIOS machines load, "ipxe" or "pxelinux", which also those
    get whose own firmware is an iPXE. Raises `ProvisionError`.
    """

    api: str
    tftp: str
    interface: str
    network: str
    first: str = ""
    last: str = ""
    router: str = ""
    dns: str = ""
    lease: timedelta = timedelta(hours=1)
    prefix6: str = ""
    secure_boot: bool = False
    bios: str = "ipxe"
    folder: str = "/srv/sretoolkit/tftp"
    state: str = "/var/lib/sretoolkit"

    def __post_init__(self) -> None:
        checked_url(self.api)
        if not _INTERFACE.fullmatch(self.interface):
            raise ProvisionError(f"{self.interface!r} is no network interface", subject="interface")
        if self.bios not in BIOS_LOADERS:
            raise ProvisionError(f"no BIOS machine loads {self.bios!r}", hint=f"one of {', '.join(BIOS_LOADERS)}")
        network = _network(self.network)
        for name in ("first", "last", "router", "dns", "tftp"):
            if (value := getattr(self, name)) or name == "tftp":
                address = _address(value, name)
                if name in ("first", "last") and address not in network:
                    raise ProvisionError(f"{name} ({value}) is not in the network {self.network}", subject=name)
        if bool(self.first) != bool(self.last):
            raise ProvisionError("give both first and last, or neither", subject="first")
        if self.prefix6 and ipaddress.ip_network(self.prefix6).version != 6:
            raise ProvisionError(f"prefix6 ({self.prefix6}) is no IPv6 network", subject="prefix6")
        for name in ("folder", "state"):
            checked_path(getattr(self, name))

    @property
    def proxy(self) -> bool:
        """Whether another DHCP server gives the addresses."""
        return not self.first

    @property
    def loader(self) -> str:
        """What UEFI machines of x86_64 load."""
        return "shimx64.efi" if self.secure_boot else "snponly.efi"


def dnsmasq(site: Site) -> str:
    """Dnsmasq's configuration: addresses (or proxyDHCP), TFTP and, with ``prefix6``, IPv6 announcements; never DNS."""
    lines = ["port=0", f"interface={site.interface}", "bind-interfaces", "no-ping", "log-dhcp", "enable-tftp"]
    lines += [f"tftp-root={site.folder}", f"dhcp-leasefile={site.state}/leases", f"pid-file={site.state}/dnsmasq.pid"]
    lines += [*_announcements(site), "# iPXE says that it is iPXE, by an option of its own", "dhcp-match=set:ipxe,175"]
    lines += ["# and is told that there is no other proxyDHCP to wait for", "dhcp-option=tag:ipxe,encap:175,176,1b"]
    return _text(lines + (_proxied(site) if site.proxy else _given_out(site)))


def isc_dhcpd(site: Site) -> str:
    """What to add to the dhcpd.conf of an ISC DHCP server that stays in charge, outside of every subnet."""
    lines = ["option arch code 93 = unsigned integer 16;", "option space ipxe;"]
    lines += ["option ipxe-encap code 175 = encapsulate ipxe;", "option ipxe.no-pxedhcp code 176 = unsigned integer 8;"]
    cases = [
        ('exists user-class and option user-class = "iPXE"', ["option ipxe.no-pxedhcp 1;", 'filename "boot.ipxe";'])
    ]
    for numbers, file in _files(site):
        test = " or ".join(f"option arch = 00:{number:02x}" for number in numbers)
        http = ['option vendor-class-identifier "HTTPClient";'] if file.startswith("http") else []
        first = site.bios != "ipxe" and numbers == _BIOS  # whatever their firmware is
        cases.insert(0 if first else len(cases), (test, [*http, f'filename "{file}";']))
    lines += [f"next-server {site.tftp};"]
    for place, (test, told) in enumerate(cases):
        lines += [f"{'} elsif' if place else 'if'} {test} {{", *(f"  {words}" for words in told)]
    return _text([*lines, "}"])


def kea(site: Site) -> str:
    """The client classes to add to Kea's ``Dhcp4`` (JSON); Kea stays in charge of addresses."""
    ipxe = "option[77].hex == 'iPXE'"
    if site.bios != "ipxe":
        ipxe += " and not (option[93].hex == 0x0000)"
    told = [{"code": 175, "csv-format": False, "data": _NO_PROXY.hex(), "always-send": True}]
    boot = {"next-server": site.tftp, "boot-file-name": "boot.ipxe"}
    classes: list[dict[str, Any]] = [{"name": "sretoolkit-ipxe", "test": ipxe, "option-data": told, **boot}]
    for numbers, file in _files(site):
        test = " or ".join(f"option[93].hex == 0x{number:04x}" for number in numbers)
        made: dict[str, Any] = {"name": f"sretoolkit-{numbers[0]}", "test": f"not ({ipxe}) and ({test})"}
        if file.startswith("http"):
            made["option-data"] = [{"name": "vendor-class-identifier", "data": "HTTPClient", "always-send": True}]
        classes.append({**made, "next-server": site.tftp, "boot-file-name": file})
    return json.dumps({"client-classes": classes}, indent=2) + "\n"


def _files(site: Site) -> list[tuple[tuple[int, ...], str]]:
    """What each kind of machine loads first, by DHCP's numbers; UEFI that boots by HTTP is given a whole address."""
    loaders = f"{site.api}/svc/loader"
    return [
        (_BIOS, BIOS_LOADERS[site.bios]),
        (_X86_64, site.loader),
        (_ARM64, "grubaa64.efi"),
        (_HTTP_X86_64, f"{loaders}/snponly.efi"),
        (_HTTP_ARM64, f"{loaders}/grubaa64.efi"),
    ]


def _announcements(site: Site) -> list[str]:
    if not site.prefix6:
        return []
    prefix = ipaddress.ip_network(site.prefix6).network_address
    return ["enable-ra", f"dhcp-range={prefix},ra-only", f"ra-param={site.interface},5,0"]


def _given_out(site: Site) -> list[str]:
    seconds = int(site.lease.total_seconds())
    lines = [f"dhcp-range={site.first},{site.last},{_network(site.network).netmask},{seconds}s"]
    lines += [f"dhcp-option=3,{site.router}"] if site.router else ["dhcp-option=3"]
    lines += [f"dhcp-option=6,{site.dns}"] if site.dns else ["dhcp-option=6"]
    own = site.bios == "ipxe"  # else an iPXE in a BIOS machine is led like any other firmware
    lines += [f"dhcp-boot=tag:ipxe,{'' if own else 'tag:!arch-0,'}boot.ipxe,,{site.tftp}"]
    for numbers, file in _files(site):
        tag = f"arch-{numbers[0]}"
        lines += [f"dhcp-match=set:{tag},option:client-arch,{number}" for number in numbers]
        if file.startswith("http"):
            lines += [f"dhcp-option-force=tag:!ipxe,tag:{tag},60,HTTPClient", f"dhcp-boot=tag:!ipxe,tag:{tag},{file}"]
        else:
            new = "tag:!ipxe," if own or numbers != _BIOS else ""
            lines += [f"dhcp-boot={new}tag:{tag},{file},,{site.tftp}"]
    return lines


def _proxied(site: Site) -> list[str]:
    """Beside another DHCP server: only what to boot. A name needs a dot, or dnsmasq adds one of its own."""
    bios = BIOS_LOADERS[site.bios]
    names = {"x86PC": bios, "X86-64_EFI": site.loader, "BC_EFI": site.loader, "ARM64_EFI": "grubaa64.efi"}
    lines = [f"dhcp-range={_network(site.network).network_address},proxy,{_network(site.network).netmask}"]
    lines += ["dhcp-userclass=set:ipxe,iPXE"]
    for kind, file in names.items():
        new = "" if file == "pxelinux.0" else "tag:!ipxe,"
        lines += [f'pxe-service={new}{kind},"sretoolkit",{file},{site.tftp}']
    ipxe = [kind for kind, file in names.items() if not file.startswith(("grub", "shim", "pxelinux"))]
    return lines + [f'pxe-service=tag:ipxe,{kind},"sretoolkit",boot.ipxe,{site.tftp}' for kind in ipxe]


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        hint = "write it as 10.77.0.0/24"
        raise ProvisionError(f"{text!r} is no IPv4 network: {error}", subject="network", hint=hint) from error


def _address(text: str, name: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError as error:
        hint = "write it as 10.77.0.1"
        raise ProvisionError(f"{name} ({text!r}) is no IPv4 address", subject=name, hint=hint) from error


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
