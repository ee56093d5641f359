#!/usr/bin/python3
"""A long way to a server: every byte takes half a round trip longer, in either direction, and a new
connection a whole one (the TCP handshake that a real link would have). No privileges needed.

  slow_link.py HOST:PORT [--rtt MS] [--rate MBIT]

Prints the port it listens on, then obeys commands, one a line on standard input, each answered by a
line:

  rtt MS         from now on
  stall, go      hold everything back, and let it go on
  reset          break every connection
  count          "connections bytes_up bytes_down" so far

Ends when standard input ends. There is neither loss nor slow start, so bulk transfers over long links
look faster than they are; what takes a round trip each is as slow as in life.
"""
import argparse
import asyncio
import collections
import socket
import struct
import sys

CHUNK = 256 * 1024
IN_FLIGHT_MAX = 16 * 1024 * 1024  # a direction of a connection: more pushes back on the sender


class Link:
    def __init__(self, options):
        self.host, port = options.target.rsplit(':', 1)
        self.port = int(port)
        self.rtt = options.rtt / 1000
        self.seconds_per_byte = 8 / (options.rate * 1e6) if options.rate else 0
        self.free_at = [0.0, 0.0]  # when the shared wire has sent what it was given, by direction
        self.go = asyncio.Event()
        self.go.set()
        self.writers = set()
        self.connections = 0
        self.bytes = [0, 0]

    async def accept(self, reader, writer):
        self.connections += 1
        self.prepare(writer)
        await asyncio.sleep(self.rtt)
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port,
                                                                   limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        self.prepare(far_writer)
        try:
            await asyncio.gather(self.carry(reader, far_writer, 0),
                                 self.carry(far_reader, writer, 1))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for one in (writer, far_writer):
                self.writers.discard(one)
                one.transport.abort()

    def prepare(self, writer):
        writer.get_extra_info('socket').setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.writers.add(writer)

    async def carry(self, reader, writer, direction):
        """Reads, and hands over when the bytes would have arrived."""
        loop = asyncio.get_running_loop()
        waiting = collections.deque()
        changed = asyncio.Event()
        in_flight = 0

        async def deliver():
            nonlocal in_flight
            while True:
                while not waiting:
                    changed.clear()
                    await changed.wait()
                due, data = waiting.popleft()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                await self.go.wait()
                in_flight -= len(data)
                changed.set()
                if not data:
                    if writer.can_write_eof():
                        writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        delivery = asyncio.create_task(deliver())
        try:
            while True:
                data = await reader.read(CHUNK)
                self.bytes[direction] += len(data)
                sent = loop.time()
                if self.seconds_per_byte and data:
                    sent = max(sent, self.free_at[direction])
                    sent += len(data) * self.seconds_per_byte
                    self.free_at[direction] = sent
                    # Whoever sends faster than the wire is held up, as a full socket would.
                    if sent - loop.time() > 0.1:
                        await asyncio.sleep(sent - loop.time() - 0.05)
                waiting.append((sent + self.rtt / 2, data))
                in_flight += len(data)
                changed.set()
                if not data:
                    break
                while in_flight > IN_FLIGHT_MAX:
                    changed.clear()
                    await changed.wait()
            await delivery
        finally:
            delivery.cancel()

    def reset(self):
        for writer in list(self.writers):
            one = writer.get_extra_info('socket')
            # Closed by the other side meanwhile, it has no descriptor any more.
            if one is not None and one.fileno() >= 0:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            writer.transport.abort()

    def obey(self, words):
        if words[0] == 'rtt':
            self.rtt = float(words[1]) / 1000
        elif words[0] == 'stall':
            self.go.clear()
        elif words[0] == 'go':
            self.go.set()
        elif words[0] == 'reset':
            self.reset()
        elif words[0] == 'count':
            return f'{self.connections} {self.bytes[0]} {self.bytes[1]}'
        else:
            return 'error: unknown command'
        return 'ok'


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('target')
    parser.add_argument('--rtt', type=float, default=50)
    parser.add_argument('--rate', type=float, default=0)
    link = Link(parser.parse_args())
    server = await asyncio.start_server(link.accept, '127.0.0.1', 0, limit=CHUNK, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async for line in commands:
        words = line.decode().split()
        if words:
            print(link.obey(words), flush=True)


asyncio.run(main())
