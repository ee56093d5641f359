#!/usr/bin/python3
"""A web proxy that knows CONNECT only, as companies have them between servers and the internet.

  connect_proxy.py

Prints its port and obeys commands, one a line on standard input: "count" is answered by how many
tunnels it has made to each "host:port" since the last time, as "host:port=N ...".
"""
import asyncio
import collections
import sys

made = collections.Counter()


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def client(reader, writer):
    words = (await reader.readuntil(b'\r\n\r\n')).decode().split()
    if words[0] != 'CONNECT':
        writer.write(b'HTTP/1.1 405 CONNECT only\r\n\r\n')
        writer.close()
        return
    host, port = words[1].rsplit(':', 1)
    made[words[1]] += 1
    there, back = await asyncio.open_connection(host, int(port))
    writer.write(b'HTTP/1.1 200 here you are\r\n\r\n')
    await asyncio.gather(pump(reader, back), pump(there, writer))


async def main():
    server = await asyncio.start_server(client, '127.0.0.1', 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(' '.join('%s=%d' % item for item in sorted(made.items())), flush=True)
        made.clear()


asyncio.run(main())
