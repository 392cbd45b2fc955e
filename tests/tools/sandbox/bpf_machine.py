"""Runs a classic BPF program on a made-up system call, as the kernel does: for either processor."""

import struct


def answer(code: bytes, *, audit: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the program returns for a call, by the words of `linux/seccomp.h`."""
    wide = [value & (1 << 64) - 1 for value in (*arguments, *(0,) * (6 - len(arguments)))]
    data = struct.pack("<iIQ6Q", number if number < 1 << 31 else number - (1 << 32), audit, 0, *wide)
    accumulator = at = 0
    while True:
        operation, yes, no, operand = struct.unpack_from("<HBBI", code, at * 8)
        at += 1
        match operation:
            case 0x20:
                [accumulator] = struct.unpack_from("<I", data, operand)
            case 0x54:
                accumulator &= operand
            case 0x15:
                at += yes if accumulator == operand else no
            case 0x35:
                at += yes if accumulator >= operand else no
            case 0x06:
                return operand
            case _:
                raise AssertionError(f"operation {operation:#x} is not known")
