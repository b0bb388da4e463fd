"""Makes native libraries listen on the loopback interface instead of on every interface. Linux on x86-64 and arm64.

Written against: tensorflow 2.21.0 (its gRPC servers); it knows nothing of TensorFlow and works for any shared library.

Reason: TensorFlow's servers bind to 0.0.0.0 without authentication, and no setting changes that. `keep_to_loopback` puts a
function in the place of `bind` in the import tables (global offset tables) of the loaded libraries. It replaces the
wildcard address by the loopback address and changes nothing else.

Without it: everyone who reaches the port can write into the memory of a training process.

It can go when: TensorFlow has a setting for the address that its servers listen on.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from collections.abc import Iterator
from typing import Any

import numpy as np

AF_INET, AF_INET6 = 2, 10
_LOOPBACK_V4 = bytes([127, 0, 0, 1])
_LOOPBACK_MAPPED = (
    bytes(10) + b"\xff\xff" + _LOOPBACK_V4
)  # ::ffff:127.0.0.1: a socket for both kinds keeps serving IPv4
_SLOTS = {"x86_64": (6, 7), "aarch64": (1025, 1026)}  # GLOB_DAT and JUMP_SLOT of the processor's ELF supplement
_PT_DYNAMIC, _PROT_READ, _PROT_WRITE = 2, 1, 2
_DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_JMPREL, _DT_PLTRELSZ = 5, 6, 7, 8, 23, 2

_BIND = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, use_errno=True)


class _ProgramHeader(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("offset", "address", "physical", "in_file", "in_memory", "align")),
    ]


class _Loaded(ctypes.Structure):
    _fields_ = [
        ("base", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.POINTER(_ProgramHeader)),
        ("num_headers", ctypes.c_uint16),
    ]


_RELOCATION = np.dtype([("offset", "<u8"), ("info", "<u8"), ("addend", "<i8")])
_SYMBOL_BYTES = 24  # the first four bytes are the offset of its name


def keep_to_loopback() -> int:
    """Make the libraries that are loaded now bind to loopback where they ask for every interface.

    Calling it again is harmless.

    Returns
    -------
    int, number of changed import tables; 0 on another system or processor
    """
    if platform.system() != "Linux" or platform.machine() not in _SLOTS:
        return 0
    replacement = ctypes.cast(_bind_to_loopback, ctypes.c_void_p).value or 0
    slots = [slot for loaded in _loaded_libraries() for slot in _slots_of(loaded, b"bind")]
    for slot in slots:
        _write_pointer(slot, replacement)
    return len(slots)


def _make_bind() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    original = _BIND(ctypes.cast(libc.bind, ctypes.c_void_p).value or 0)

    def bind(descriptor: int, address: int, size: int) -> int:
        family = ctypes.c_uint16.from_address(address).value
        if family == AF_INET and ctypes.string_at(address + 4, 4) == bytes(4):
            ctypes.memmove(address + 4, _LOOPBACK_V4, 4)
        elif family == AF_INET6 and ctypes.string_at(address + 8, 16) == bytes(16):
            ctypes.memmove(address + 8, _LOOPBACK_MAPPED, 16)
        return int(original(descriptor, address, size))

    return _BIND(bind)


_bind_to_loopback = _make_bind()  # must never be freed: the tables point to it


def _loaded_libraries() -> list[tuple[int, int]]:
    """(base, address of the dynamic section) of all loaded libraries but the C library and the dynamic loader."""
    found: list[tuple[int, int]] = []
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Loaded), ctypes.c_size_t, ctypes.c_void_p)

    def visit(pointer: Any, size: int, data: Any) -> int:
        loaded = pointer.contents
        for header in loaded.headers[: loaded.num_headers]:
            if header.kind == _PT_DYNAMIC:
                found.append((loaded.base, loaded.base + header.address))
        return 0

    ctypes.CDLL(None).dl_iterate_phdr(callback(visit), None)
    return found


def _dynamic_entries(address: int) -> dict[int, int]:
    entries: dict[int, int] = {}
    while tag := ctypes.c_int64.from_address(address).value:
        entries[tag] = ctypes.c_uint64.from_address(address + 8).value
        address += 16
    return entries


def _slots_of(loaded: tuple[int, int], name: bytes) -> Iterator[int]:
    """Addresses of the pointers by which a library calls the function `name` of another."""
    base, dynamic = loaded
    entries = _dynamic_entries(dynamic)
    if not {_DT_STRTAB, _DT_SYMTAB} <= entries.keys() or entries[_DT_STRTAB] < base:
        return  # the kernel's own page, whose tables are not relocated
    for table, size in ((_DT_JMPREL, _DT_PLTRELSZ), (_DT_RELA, _DT_RELASZ)):
        if table in entries and size in entries:
            memory = (ctypes.c_char * entries[size]).from_address(entries[table])
            relocations = np.frombuffer(memoryview(memory), _RELOCATION)
            kinds = (relocations["info"] & 0xFFFFFFFF).astype(np.int64)
            for relocation in relocations[np.isin(kinds, _SLOTS[platform.machine()])]:
                symbol = entries[_DT_SYMTAB] + (int(relocation["info"]) >> 32) * _SYMBOL_BYTES
                if ctypes.string_at(entries[_DT_STRTAB] + ctypes.c_uint32.from_address(symbol).value) == name:
                    yield base + int(relocation["offset"])


def _write_pointer(address: int, value: int) -> None:
    """Overwrite a pointer that the loader has made read-only."""
    page = address - address % mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), _PROT_READ | _PROT_WRITE) == 0:
        ctypes.c_uint64.from_address(address).value = value
