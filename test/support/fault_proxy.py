#!/usr/bin/python3
"""An object store that fails: TLS in front of a gateway's plain port, and faults by rule or by seed.

  fault_proxy.py HTTP_PORT CERTIFICATE KEY

Prints the port it listens on (TLS), then obeys commands, one a line on standard input, each answered
by a line:

  rule FAULT [METHOD [PATTERN [COUNT [SKIP]]]]
      the next COUNT (default 1) requests with that method ("any") and a target that the regular
      expression PATTERN is found in, after SKIP of them, meet the fault
  seed N SHARE          from now on a share of all requests (0.05) meets faults drawn from seed N
  clear                 no more faults
  count                 "REQUESTS FAULTS NAME=N..." so far, since the last count

Faults:

  drop          the connection is closed before an answer; the request is not passed on
  lost          the request is passed on and done, the connection closed instead of an answer
  reset         like drop, with a reset
  cut           the answer's body ends in its middle
  500 503 429   an answer of the gateway's own, the request not passed on; 503 is SlowDown
  403           the same of credentials that have expired
  error200      done, but the body of the 200 is an <Error> (only where S3 does that: POST)
  etag          the answer names another ETag
  delay         the answer comes two seconds late
  hang          no answer, ever; the connection stays open
  drip          the answer comes a byte a second
  corrupt       a byte of the request's body is changed on its way
"""
import asyncio
import argparse
import collections
import random
import re
import socket
import ssl
import struct
import sys

FAULTS = ('drop', 'lost', 'reset', 'cut', '500', '503', '429', '403', 'error200', 'etag', 'delay',
          'hang', 'drip', 'corrupt')
# Those that a seed draws: a hang costs a whole timeout, so it comes rarely.
DRAWN = ('drop', 'lost', 'reset', 'cut', '500', '503', '429', 'error200', 'etag', 'delay',
         'corrupt') * 6 + ('hang', 'drip')
CODES = {'403': (403, 'ExpiredToken'), '500': (500, 'InternalError'), '503': (503, 'SlowDown'), '429': (429, 'TooManyRequests')}


class Rule:
    def __init__(self, fault, method='any', pattern='', count=1, skip=0):
        if fault not in FAULTS:
            raise ValueError('unknown fault ' + fault)
        self.fault, self.method, self.pattern = fault, method, re.compile(pattern)
        self.count, self.skip = int(count), int(skip)

    def meets(self, method, target):
        if self.count == 0 or self.method not in ('any', method) or not self.pattern.search(target):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.count -= 1
        return True


class Head:
    """The first line and the headers of a message."""

    def __init__(self, data):
        lines = data.decode('latin-1').split('\r\n')
        self.line = lines[0]
        self.headers = [line.split(':', 1) for line in lines[1:] if ':' in line]

    def get(self, name):
        for key, value in self.headers:
            if key.lower() == name:
                return value.strip()
        return None

    def set(self, name, value):
        self.headers = [pair for pair in self.headers if pair[0].lower() != name]
        self.headers.append((name, value))

    def data(self):
        lines = [self.line] + [f'{key}:{value}' for key, value in self.headers]
        return ('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1')


async def read_head(reader):
    return Head((await reader.readuntil(b'\r\n\r\n'))[:-4])


async def read_body(reader, head):
    if (head.get('transfer-encoding') or '').lower() == 'chunked':
        body = b''
        while True:
            size = int((await reader.readline()).split(b';')[0], 16)
            body += await reader.readexactly(size)
            await reader.readline()
            if size == 0:
                return body
    return await reader.readexactly(int(head.get('content-length') or 0))


class Break(Exception):
    """Ends a connection; `hard` with a reset."""

    def __init__(self, hard=False):
        super().__init__()
        self.hard = hard


class Proxy:
    def __init__(self, port):
        self.port = port
        self.rules = []
        self.random, self.share = None, 0.0
        self.requests = 0
        self.met = collections.Counter()

    def fault_of(self, method, target):
        self.requests += 1
        fault = None
        for rule in self.rules:
            if rule.meets(method, target):
                fault = rule.fault
                break
        if fault is None and self.random is not None and self.random.random() < self.share:
            fault = self.random.choice(DRAWN)
        if fault == 'error200' and method != 'POST':
            fault = '500'
        if fault is not None:
            self.met[fault] += 1
        return fault

    async def serve(self, reader, writer):
        far = None
        hard = False
        try:
            while True:
                request = await read_head(reader)
                body = await read_body(reader, request)
                method, target = request.line.split(' ')[:2]
                fault = self.fault_of(method, target)
                far = await self.answer(request, body, method, fault, writer, far)
        except Break as end:
            hard = end.hard
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError):
            pass
        finally:
            if hard:
                writer.get_extra_info('socket').setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                           struct.pack('ii', 1, 0))
                writer.transport.abort()
            for one in (writer, far[1] if far else None):
                if one is not None:
                    one.close()

    async def answer(self, request, body, method, fault, writer, far):
        if fault in ('drop', 'reset'):
            raise Break(fault == 'reset')
        if fault == 'hang':
            await asyncio.sleep(3600)
        if fault in CODES:
            status, code = CODES[fault]
            text = f'<Error><Code>{code}</Code><RequestId>proxy</RequestId></Error>'.encode()
            head = Head(f'HTTP/1.1 {status} Fault'.encode())
            head.set('content-length', str(len(text)))
            writer.write(head.data() + (b'' if method == 'HEAD' else text))
            await writer.drain()
            return far
        if fault == 'corrupt' and body:
            at = len(body) // 2
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]
        far, head, content = await self.ask(request, body, method, far)
        if fault == 'lost':
            raise Break()
        if fault == 'delay':
            await asyncio.sleep(2)
        if fault == 'etag' and head.get('etag'):
            head.set('etag', '"%032x"' % random.getrandbits(128))
        if fault == 'error200' and head.line.split(' ')[1] == '200':
            content = b'<Error><Code>InternalError</Code><Message>fault</Message></Error>'
        await self.deliver(head, content, method, fault, writer)
        return far

    async def ask(self, request, body, method, far):
        """Passes a request on, over a kept connection that may turn out to be closed."""
        for fresh in (False, True):
            try:
                if far is None or fresh:
                    far = await asyncio.open_connection('127.0.0.1', self.port, limit=1 << 20)
                far[1].write(request.data() + body)
                await far[1].drain()
                head = await read_head(far[0])
                while head.line.split(' ')[1] == '100':
                    head = await read_head(far[0])
                break
            except (OSError, asyncio.IncompleteReadError):
                if fresh:
                    raise
        bodiless = method == 'HEAD' or head.line.split(' ')[1] in ('204', '304')
        return far, head, b'' if bodiless else await read_body(far[0], head)

    async def deliver(self, head, content, method, fault, writer):
        if method != 'HEAD' and head.line.split(' ')[1] not in ('204', '304'):
            head.headers = [pair for pair in head.headers
                            if pair[0].lower() not in ('transfer-encoding', 'content-length')]
            head.set('content-length', str(len(content)))
        if fault == 'drip':
            for byte in head.data() + content:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(1)
            return
        writer.write(head.data())
        if fault == 'cut' and content:
            writer.write(content[:len(content) // 2])
            await writer.drain()
            raise Break()
        writer.write(content)
        await writer.drain()

    def obey(self, words):
        if words[0] == 'rule':
            self.rules.append(Rule(*words[1:]))
        elif words[0] == 'seed':
            self.random, self.share = random.Random(int(words[1])), float(words[2])
        elif words[0] == 'clear':
            self.rules, self.random = [], None
        elif words[0] == 'count':
            text = f'{self.requests} {sum(self.met.values())} '
            text += ' '.join(f'{name}={count}' for name, count in sorted(self.met.items()))
            self.requests = 0
            self.met.clear()
            return text.strip()
        else:
            raise ValueError('unknown command')
        return 'ok'


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('port', type=int)
    parser.add_argument('certificate')
    parser.add_argument('key')
    options = parser.parse_args()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(options.certificate, options.key)
    proxy = Proxy(options.port)
    server = await asyncio.start_server(proxy.serve, '127.0.0.1', 0, ssl=tls, limit=1 << 20,
                                        backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async for line in commands:
        words = line.decode().split()
        if words:
            try:
                print(proxy.obey(words), flush=True)
            except (ValueError, IndexError, TypeError, re.error) as error:
                print(f'error {error}', flush=True)


asyncio.run(main())
