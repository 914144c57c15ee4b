"""The ingress's compiled loop over a socket: datagrams come in batches, by one system call, with the kernel's own time.

Source: recvmmsg(2), socket(7) (SO_TIMESTAMPNS, SO_RXQ_OVFL), cmsg(3); struct mmsghdr of <bits/socket.h>, 64-bit.
What the kernel dropped because the socket's buffer was full is counted in `drops`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sovereign.actors.ingress.loop import _step
from sovereign.runtime import atomics, kernels, layout
from sovereign.runtime.commit import S_NEWER
from sovereign.runtime.jit import external, njit, types
from sovereign.runtime.loop import C_IDLES_AT, C_STOP_AT, C_WAIT, RUN, STOP, beat, count

L_FD, L_HEADERS, L_BATCH, L_CONTROL_BYTES, L_DROPS_AT, L_DROPS_SEEN, L_POLL_AT = range(7)
L_WORDS = 8
H_CONTROL, H_CONTROL_BYTES, H_LENGTH, H_WORDS = 4, 5, 7, 8

_MSG_DONTWAIT = 0x40
_SOL_SOCKET, SO_TIMESTAMPNS, SO_RXQ_OVFL = 1, 35, 40
_CMSG_HEADER_BYTES = 16
_IDLES_BEFORE_POLL = 200

_recvmmsg = external(
    "recvmmsg", types.int32(types.int32, types.int64, types.uint32, types.int32, types.int64)
)
_poll = external("poll", types.int32(types.int64, types.uint64, types.int32))


@njit
def _control(header: Any, links: Any) -> Any:
    """Kernel receive time (CLOCK_REALTIME, ns; 0: none given) from a header's control messages; drops are counted."""
    at = atomics.load_i64(header + 8 * H_CONTROL)
    end = at + atomics.load_i64(header + 8 * H_CONTROL_BYTES)
    when = np.int64(0)
    while at + _CMSG_HEADER_BYTES <= end:
        size = atomics.load_i64(at)
        if size < _CMSG_HEADER_BYTES or at + size > end:
            break
        if atomics.load_u32(at + 8) == _SOL_SOCKET:
            kind, data = atomics.load_u32(at + 12), at + _CMSG_HEADER_BYTES
            if kind == SO_TIMESTAMPNS:
                when = atomics.load_i64(data) * 1_000_000_000 + atomics.load_i64(data + 8)
            elif kind == SO_RXQ_OVFL:
                lost = np.int64(atomics.load_u32(data))
                count(links[L_DROPS_AT], (lost - links[L_DROPS_SEEN]) & 0xFFFF_FFFF)
                links[L_DROPS_SEEN] = lost
        at += (size + 7) & ~7
    return when


@njit
def _receive(links: Any, length: Any, time_ns: Any) -> Any:
    """Take what the kernel holds, up to a batch; how many datagrams."""
    for k in range(links[L_BATCH]):
        header = links[L_HEADERS] + 8 * H_WORDS * k
        atomics.store_i64(header + 8 * H_CONTROL_BYTES, links[L_CONTROL_BYTES])
    got = _recvmmsg(
        np.int32(links[L_FD]),
        links[L_HEADERS],
        np.uint32(links[L_BATCH]),
        np.int32(_MSG_DONTWAIT),
        0,
    )
    for k in range(got):
        header = links[L_HEADERS] + 8 * H_WORDS * k
        length[k] = np.int64(atomics.load_u32(header + 8 * H_LENGTH))
        time_ns[k] = _control(header, links)
    return got


@njit
def run(
    c: Any,
    s: Any,
    w: Any,
    readers: Any,
    taken: Any,
    g: Any,
    base: Any,
    offset: Any,
    length: Any,
    time_ns: Any,
    channel: Any,
    links: Any,
) -> Any:
    """The loop. 0: stopped; 1: the datagram `g[G_BAD_FRAME]` gives more messages than may be."""
    idles = 0
    while atomics.load_acquire(c[C_STOP_AT]) == RUN:
        got = _receive(links, length, time_ns)
        done = 0
        while done < got:
            frame = atomics.load_i64(s[s[S_NEWER]] + layout.COPY_STATE_AT)
            step = _step(
                c, s, w, readers, taken, g, base, offset[done:], length[done:], time_ns[done:],
                channel[done:], frame + got - done, True,
            )  # fmt: skip
            if step < 0:
                return 1
            if step == 0 and atomics.load_acquire(c[C_STOP_AT]) == STOP:
                return 0
            done += step
        if got > 0:
            idles = 0
            continue
        idles += 1
        beat(c)
        count(c[C_IDLES_AT], 1)
        if c[C_WAIT] != kernels.WAIT_SPIN and idles > _IDLES_BEFORE_POLL:
            _poll(links[L_POLL_AT], np.uint64(1), np.int32(1))
        else:
            kernels.idle(c[C_WAIT], min(idles, 64), readers, 0, 0)
    return 0
