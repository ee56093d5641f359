#!/usr/bin/python3
"""A real object store for tests: Ceph's gateway with a monitor and one memory-backed disk, on
loopback ports that are free, TLS under a certificate authority of its own, everything below one
directory. Any user; the packages ceph-mon, ceph-osd and radosgw must be there.

  s3_server.py DIRECTORY [--bucket NAME]...

Prints one line of JSON when it answers (endpoint, ports, keys, CA file), then obeys commands, one a
line on standard input, each answered by a line "ok ..." or "error ...":

  bucket NAME         make a bucket
  versioning NAME     keep the versions of a bucket
  quota BYTES         refuse writes past that many bytes (0: no limit)
  user NAME KEY SECRET  another user, who may do nothing in the buckets of the first
  policy NAME JSON    set the policy of a bucket
  upload PATH         begin an upload in parts and leave it
  put PATH BASE64     store an object
  remove PATH         remove an object
  get PATH            "ok STATUS BODY" of a signed GET, the body in base64
  requests            "ok N": how many requests the gateway has served
  freeze, thaw        requests hang, and go on
  crash, restart      the gateway dies, and comes back with its data
  rgw-admin ARGS...   anything else

Ends, with all its daemons and its directory, when standard input ends or on SIGTERM. The daemons
run in the foreground below this process and die with it, whatever it dies of.
"""
import argparse
import base64
import ctypes
import datetime
import hashlib
import hmac
import http.client
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

KEY, SECRET = 'testaccess', 'testsecret0123456789testsecret0123456789'
MON_PORTS = 18  # the monitor's two, and the range the disk picks from

CONF = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{port},v1:127.0.0.1:{next_port}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind port min = {osd_first}
ms bind port max = {osd_last}
keyring = {dir}/keyring
run dir = {dir}/run
admin socket = {dir}/run/$name.asok
log file = {dir}/log/$name.log
crash dir = {dir}/log
mon data = {dir}/mon
mon cluster log file = {dir}/log/cluster.log
mon data avail warn = 1
mon data avail crit = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
auth allow insecure global id reclaim = false
# With the defaults the first start takes twelve seconds.
paxos propose interval = 0.05
paxos min wait = 0.01
osd data = {dir}/osd
osd objectstore = memstore
memstore device bytes = 12G
osd memory target = 939524096
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
[client.admin]
admin socket =
log file =
[client.rgw]
# Without tcp_nodelay a small answer over TLS takes 47 ms.
rgw frontends = beast endpoint=127.0.0.1:{http} ssl_endpoint=127.0.0.1:{https} \
ssl_certificate={dir}/server.crt ssl_private_key={dir}/server.key tcp_nodelay=1
rgw thread pool size = 128
rgw data = {dir}/run
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = testkey-1=YmluCmJvb3N0CmJvb3N0LWJ1aWxkCmNlcGguY29uZgo=
"""


def free_port_range(count):
    """The first of `count` neighbouring ports that nobody listens on."""
    for _ in range(200):
        first = 20000 + secrets.randbelow(12000)
        sockets = []
        try:
            for port in range(first, first + count):
                one = socket.socket()
                sockets.append(one)
                one.bind(('127.0.0.1', port))
            return first
        except OSError:
            pass
        finally:
            for one in sockets:
                one.close()
    raise SystemExit('no free ports')


def make_certificates(directory):
    """ca.crt, and server.crt for localhost, s3.test, *.s3.test and 127.0.0.1."""
    def openssl(*words):
        subprocess.run(['openssl', *words], cwd=directory, check=True, capture_output=True)
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
            '-days', '30', '-subj', '/CN=test CA', '-keyout', 'ca.key', '-out', 'ca.crt',
            '-addext', 'basicConstraints=critical,CA:TRUE',
            '-addext', 'keyUsage=critical,keyCertSign,cRLSign')
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost',
            '-keyout', 'server.key', '-out', 'server.csr')
    with open(directory + '/server.ext', 'w') as ext:
        ext.write('subjectAltName=DNS:localhost,DNS:s3.test,DNS:*.s3.test,IP:127.0.0.1\n'
                  'extendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n')
    openssl('x509', '-req', '-in', 'server.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key',
            '-CAcreateserial', '-days', '30', '-out', 'server.crt', '-extfile', 'server.ext')


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Server:
    def __init__(self, directory):
        self.dir = os.path.abspath(directory)
        self.daemons = {}
        self.env = dict(os.environ, CEPH_CONF=self.dir + '/ceph.conf')

    def run(self, *words, **more):
        return subprocess.run(words, env=self.env, check=True, capture_output=True, text=True,
                              stdin=None if 'input' in more else subprocess.DEVNULL, **more).stdout

    # From the top: Debian's 20.2 looks for the parts of the disk in "lib/...".
    def daemon(self, name, *words):
        log = open(f'{self.dir}/log/{name}.out', 'ab')
        self.daemons[name] = subprocess.Popen(words, env=self.env, cwd='/',
                                              stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                              preexec_fn=die_with_parent)

    def start(self):
        for name in ('run', 'log', 'mon', 'osd'):
            os.makedirs(f'{self.dir}/{name}')
        make_certificates(self.dir)
        first = free_port_range(MON_PORTS + 2)
        self.http, self.https = first + MON_PORTS, first + MON_PORTS + 1
        fsid = self.run('cat', '/proc/sys/kernel/random/uuid').strip()
        with open(self.dir + '/ceph.conf', 'w') as conf:
            conf.write(CONF.format(fsid=fsid, port=first, next_port=first + 1, osd_first=first + 2,
                                   osd_last=first + MON_PORTS - 1, dir=self.dir, http=self.http,
                                   https=self.https))
        self.make_monitor(fsid, first)
        disk = self.run('cat', '/proc/sys/kernel/random/uuid').strip()
        self.run('ceph', 'osd', 'new', disk)
        self.run('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', disk)
        self.daemon('osd', 'ceph-osd', '-f', '-i', '0')
        self.admin('user', 'create', '--uid=tester', '--display-name=tester',
                   '--access-key=' + KEY, '--secret-key=' + SECRET)
        # Each of these serves both as https://NAME/bucket and as https://bucket.NAME; any other
        # name in a Host header is taken for a bucket.
        zonegroup = json.loads(self.admin('zonegroup', 'get'))
        zonegroup['hostnames'] = ['localhost', 's3.test']
        self.run('radosgw-admin', 'zonegroup', 'set', input=json.dumps(zonegroup))
        self.start_gateway()

    def make_monitor(self, fsid, port):
        keyring = self.dir + '/keyring'
        self.run('ceph-authtool', keyring, '--create-keyring', '-n', 'mon.', '--gen-key',
                 '--cap', 'mon', 'allow *')
        for name, caps in (('client.admin', ('mon', 'allow *', 'osd', 'allow *', 'mgr', 'allow *')),
                           ('osd.0', ('mon', 'allow profile osd', 'osd', 'allow *')),
                           ('client.rgw', ('mon', 'allow rw', 'osd', 'allow rwx'))):
            words = []
            for who, what in zip(caps[::2], caps[1::2]):
                words += ['--cap', who, what]
            self.run('ceph-authtool', keyring, '-n', name, '--gen-key', *words)
        self.run('monmaptool', '--create', '--clobber', '--fsid', fsid, '--addv', 'a',
                 f'[v2:127.0.0.1:{port},v1:127.0.0.1:{port + 1}]', self.dir + '/monmap')
        self.run('ceph-mon', '--mkfs', '-i', 'a', '--monmap', self.dir + '/monmap',
                 '--keyring', keyring)
        self.daemon('mon', 'ceph-mon', '-f', '-i', 'a')

    def start_gateway(self):
        asok = self.dir + '/run/client.rgw.asok'
        if os.path.exists(asok):
            os.unlink(asok)
        self.daemon('rgw', 'radosgw', '-f', '-n', 'client.rgw')
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                socket.create_connection(('127.0.0.1', self.http), 1).close()
                return
            except OSError:
                if self.daemons['rgw'].poll() is not None:
                    break
                time.sleep(0.05)
        raise RuntimeError('the gateway does not answer')

    def admin(self, *words):
        return self.run('radosgw-admin', *words)

    def request(self, method, path, query='', body=b''):
        """A signed request on the plain port: (status, body)."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime('%Y%m%dT%H%M%SZ')
        scope = now[:8] + '/us-east-1/s3/aws4_request'
        payload = hashlib.sha256(body).hexdigest()
        signed = 'host;x-amz-content-sha256;x-amz-date'
        uri = urllib.parse.quote(path)
        canonical = '\n'.join([method, uri, query, 'host:127.0.0.1:%d' % self.http,
                               'x-amz-content-sha256:' + payload, 'x-amz-date:' + now, '', signed,
                               payload])
        text = '\n'.join(['AWS4-HMAC-SHA256', now, scope,
                          hashlib.sha256(canonical.encode()).hexdigest()])
        key = ('AWS4' + SECRET).encode()
        for part in (now[:8], 'us-east-1', 's3', 'aws4_request'):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        connection = http.client.HTTPConnection('127.0.0.1', self.http, timeout=30)
        connection.request(method, uri + ('?' + query if query else ''), body, {
            'x-amz-content-sha256': payload, 'x-amz-date': now,
            'Authorization': f'AWS4-HMAC-SHA256 Credential={KEY}/{scope}, '
                             f'SignedHeaders={signed}, Signature={signature}'})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def checked(self, *words):
        status, body = self.request(*words)
        if status > 299:
            raise RuntimeError(f'{words[0]} {words[1]}: {status} {body[:300]}')
        return ''

    def obey(self, line):
        words = shlex.split(line)
        command, rest = words[0], words[1:]
        if command == 'bucket':
            return self.checked('PUT', '/' + rest[0])
        if command == 'versioning':
            return self.checked('PUT', '/' + rest[0], 'versioning=', (
                b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                b'<Status>Enabled</Status></VersioningConfiguration>'))
        if command == 'policy':
            return self.checked('PUT', '/' + rest[0], 'policy=', rest[1].encode())
        if command == 'upload':
            return self.checked('POST', rest[0], 'uploads=')
        if command == 'put':
            return self.checked('PUT', rest[0], '', base64.b64decode(rest[1]))
        if command == 'remove':
            return self.checked('DELETE', rest[0])
        if command == 'get':
            path, _, query = rest[0].partition('?')
            status, body = self.request('GET', path, query)
            return f'{status} {base64.b64encode(body).decode()}'
        if command == 'quota':
            scope = ('--quota-scope=user', '--uid=tester')
            if rest[0] == '0':
                self.admin('quota', 'disable', *scope)
            else:
                self.admin('quota', 'set', *scope, '--max-size=' + rest[0])
                self.admin('quota', 'enable', *scope)
            return ''
        if command == 'user':
            self.admin('user', 'create', '--uid=' + rest[0], '--display-name=' + rest[0],
                       '--access-key=' + rest[1], '--secret-key=' + rest[2])
            return ''
        if command == 'requests':
            counters = json.loads(self.run('ceph', 'daemon', self.dir + '/run/client.rgw.asok', 'perf', 'dump'))
            return str(counters['rgw']['req'])
        if command in ('freeze', 'thaw'):
            os.kill(self.daemons['osd'].pid,
                    signal.SIGSTOP if command == 'freeze' else signal.SIGCONT)
            return ''
        if command == 'crash':
            self.daemons['rgw'].kill()
            self.daemons['rgw'].wait()
            return ''
        if command == 'restart':
            self.start_gateway()
            return ''
        if command == 'rgw-admin':
            return self.admin(*rest).replace('\n', ' ')
        raise RuntimeError('unknown command')

    def stop(self):
        for name in ('rgw', 'osd', 'mon'):
            process = self.daemons.get(name)
            if process is not None and process.poll() is None:
                process.kill()  # nothing is kept: there is nothing to end in order
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('directory')
    parser.add_argument('--bucket', action='append', default=[])
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(options.directory)
    try:
        server.start()
        for bucket in options.bucket:
            server.checked('PUT', '/' + bucket)
        print(json.dumps({'http': server.http, 'https': server.https, 'key': KEY,
                          'secret': SECRET, 'ca': server.dir + '/ca.crt',
                          'crt': server.dir + '/server.crt',
                          'private_key': server.dir + '/server.key'}), flush=True)
        for line in sys.stdin:
            try:
                print('ok ' + server.obey(line.strip()), flush=True)
            except subprocess.CalledProcessError as error:
                print('error ' + (error.stderr or '').replace('\n', ' ')[:500], flush=True)
            except Exception as error:  # a bad command must not end the server
                print('error ' + str(error).replace('\n', ' ')[:500], flush=True)
    except subprocess.CalledProcessError as error:
        sys.exit(f'{error.cmd}: {error.stderr}')
    finally:
        server.stop()


main()
